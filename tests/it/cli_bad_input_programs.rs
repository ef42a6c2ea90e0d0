//! Bad input: PostgreSQL's programs that are missing or of the wrong version.

use std::os::unix::fs::PermissionsExt;

use crate::cli_bad_input::Production;
use crate::support::{Project, TestCluster, TestStore, Version};

const CREATE: [&str; 2] = ["snapshot", "create"];

fn with_programs_in(production: &Production, directory: &std::path::Path) {
    production.configure(&format!("[shadow]\nbin_dir = \"{}\"\n", directory.display()));
}

/// The system's PostgreSQL is 15 or newer, and the newer one may be any: only which is which counts.
fn without_versions(said: &str) -> String {
    let major = regex::Regex::new(r"(PostgreSQL |postgresql-client-)\d+").unwrap();
    let full = regex::Regex::new(r"\b\d\d\.\d+\b").unwrap();
    full.replace_all(&major.replace_all(said, "$1[MAJOR]"), "[VERSION]").into_owned()
}

#[test]
fn pg_dump_is_missing() {
    let production = Production::new();
    let empty = production.project.directory().join("bin");
    std::fs::create_dir(&empty).unwrap();
    with_programs_in(&production, &empty);
    insta::assert_snapshot!(without_versions(&production.refuses(&CREATE)), @"
    $ safe-migrate snapshot create
    exit 1
    --- stderr
    error: PostgreSQL [MAJOR]'s `pg_dump` is needed, and it is not in [PROJECT]/bin
    production: unchanged
    hint: install the client's package (Debian, Ubuntu: postgresql-client-[MAJOR]), or name the directory in [shadow] bin_dir
    ");
    assert_eq!(production.store.objects(), []);
}

#[test]
fn pg_dump_is_of_another_major_version() {
    let cluster = TestCluster::shared(Version::V15);
    let newer = TestCluster::shared(Version::V18);
    let project = Project::empty();
    let store = TestStore::local(&project.directory().join("store"));
    let production = Production::on(&cluster, project, store);
    let link = production.project.directory().join("newer");
    std::os::unix::fs::symlink(newer.bin_dir(), &link).unwrap();
    with_programs_in(&production, &link);
    insta::assert_snapshot!(without_versions(&production.refuses(&CREATE)), @"
    $ safe-migrate snapshot create
    exit 1
    --- stderr
    error: PostgreSQL [MAJOR]'s programs are needed, and only these were found: [VERSION] in [PROJECT]/newer
    production: unchanged
    hint: install the client's package (Debian, Ubuntu: postgresql-client-[MAJOR]), or name the directory in [shadow] bin_dir
    ");
    assert_eq!(production.store.objects(), []);
}

#[test]
fn pg_dump_is_older_than_the_server() {
    let production = Production::new();
    let major = production.database.query("SELECT current_setting('server_version_num')::int / 10000");
    let real = production.database.cluster().bin_dir();
    let old = production.project.directory().join("old/bin");
    std::fs::create_dir_all(&old).unwrap();
    for program in ["pg_dump", "pg_dumpall", "pg_restore", "psql"] {
        // What a machine answers that was not updated since its first release; for all else the real program.
        let script = format!(
            "#!/bin/sh\nif [ \"$1\" = --version ]; then echo '{program} (PostgreSQL) {major}.0'; exit; fi\n\
             exec '{}' \"$@\"\n",
            real.join(program).display()
        );
        let path = production.project.write(&format!("old/bin/{program}"), &script);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    with_programs_in(&production, &old);
    let said = production.refuses(&CREATE);
    insta::assert_snapshot!(without_versions(&said), @"
    $ safe-migrate snapshot create
    exit 1
    --- stderr
    error: the programs in [PROJECT]/old/bin are of version [VERSION], older than the server's [VERSION]
    production: unchanged
    hint: update the package of PostgreSQL [MAJOR] on this machine to [VERSION] or later
    ");
    assert_eq!(production.store.objects(), []);
}
