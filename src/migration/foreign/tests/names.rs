//! golang-migrate: dialects in names, and names by a pattern.

use super::*;

const MIGRATE: ForeignTool = ForeignTool::GolangMigrate;

fn by_pattern(pattern: &str, files: &[(&str, &str)]) -> Result<Vec<ForeignMigration>, String> {
    let dir = directory(files);
    let found = MIGRATE.read(dir.path(), Some(&pattern.parse()?));
    found.map_err(|error| error.to_string().replace(&dir.path().display().to_string(), "DIR"))
}

#[test]
fn of_several_dialects_ours_is_taken() {
    for files in [
        [
            ("0001_x.up.postgres.sql", "SELECT 1;"),
            ("0001_x.up.mysql.sql", "SELECT `1`;"),
            ("0001_x.down.pgsql", "SELECT -1;"),
        ],
        [
            ("0001_x.postgres.up.sql", "SELECT 1;"),
            ("0001_x.sqlite3.up.sql", "SELECT `1`;"),
            ("0001_x.postgres.down.sql", "SELECT -1;"),
        ],
        [
            ("postgres/0001_x.up.sql", "SELECT 1;"),
            ("mysql/0001_x.up.sql", "SELECT `1`;"),
            ("postgres/0001_x.down.sql", "SELECT -1;"),
        ],
    ] {
        let found = read(MIGRATE, &files);
        assert_eq!((found[0].up.as_str(), found[0].down.as_deref()), ("SELECT 1;", Some("SELECT -1;")), "{files:?}");
        assert_eq!((found.len(), named(&found)), (1, vec!["0001_x".to_owned()]));
    }
    let mysql = error(MIGRATE, &[("0001_x.up.mysql.sql", "SELECT `1`;")]);
    assert_eq!(mysql, "DIR/0001_x.up.mysql.sql: a migration of mysql, and there is none of PostgreSQL");
    assert!(error(MIGRATE, &[("mysql/0001_x.up.sql", "")]).contains("holds no migration"));
    assert!(error(MIGRATE, &[("1_x.up.sql", ""), ("1_x.up.postgres.sql", "")]).contains("the same version"));
    assert!(error(MIGRATE, &[("1_x.up.test.sql", "")]).contains("no name of a golang-migrate migration"));
    // Its own expression takes the last direction in a name.
    let found = read(MIGRATE, &[("1_level.up.sql.up.sql", "SELECT 1;")]);
    assert_eq!(named(&found), ["0001_level_up_sql"]);
}

#[test]
fn a_pattern_names_what_deviates() {
    let files = [("V7-Add price-Do.sql", "SELECT 1;"), ("V7-Add price-Down.sql", "SELECT -1;"), ("notes.txt", "")];
    assert!(
        by_pattern("V{version}-{name}-{direction}.sql", &files)
            .unwrap_err()
            .contains("V7-Add price-Do.sql: no name as the pattern says")
    );
    let files = [("V7-Add-price-UP.sql", "SELECT 1;"), ("V7-Add-price-Down.sql", "SELECT -1;"), ("notes.txt", "")];
    let found = by_pattern("V{version}-{name}-{direction}.sql", &files).unwrap();
    assert_eq!((keys(&found), named(&found)), (vec!["7"], vec!["0007_add_price".to_owned()]));
    assert_eq!(found[0].down.as_deref(), Some("SELECT -1;"));
    let found = by_pattern("{direction}_{version}.pgsql", &[("up_2.pgsql", "SELECT 2;"), ("up_10.pgsql", "SELECT 3;")])
        .unwrap();
    assert_eq!(
        (keys(&found), named(&found)),
        (vec!["2", "10"], vec!["0002_migration".to_owned(), "0010_migration".to_owned()])
    );
    // Without a direction all of them go up.
    assert_eq!(by_pattern("{version}.sql", &[("3.sql", "SELECT 3;")]).unwrap()[0].down, None);
    for (pattern, why) in [
        ("{name}.sql", "there is no {version} in it"),
        ("{version}{version}.sql", "{version} is in it twice"),
        ("{version}_{title}.sql", "{title} is none of {version}, {name} and {direction}"),
        ("{version}_{name.sql", "this { is never closed"),
        ("a/{version}.sql", "it is for names without a directory"),
    ] {
        assert_eq!(pattern.parse::<NamePattern>().unwrap_err(), why);
    }
}
