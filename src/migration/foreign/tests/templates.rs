//! Templates: refused where they are no SQL, named where they are text.

use super::*;

#[test]
fn what_is_no_sql_is_refused_by_line() {
    for (sql, expected) in [
        ("SELECT 1;\nCREATE TABLE {{ schema }}.t ();", "line 2: {{ schema }}"),
        ("{% if x %}\nSELECT 1;\n{% endif %}", "line 1: {% if x %}, line 3: {% endif %}"),
        ("SELECT <%= 1 + 1 %>;", "line 1: <%= 1 + 1 %>"),
        ("<%- x -%>\nSELECT 1;", "line 1: <%- x -%>"),
        ("CREATE TABLE app_${ENV}.t ();", "line 1: ${ENV}"),
        ("SELECT {{.Name}}, {{ it's }};", "line 1: {{.Name}}, line 1: {{ it's }}"),
    ] {
        let error = error(ForeignTool::Sqlx, &[("1_a.sql", sql)]);
        assert_eq!(error, format!("DIR/1_a.sql: templates, which another program fills in: {expected}"), "{sql}");
    }
    let down = error(ForeignTool::GolangMigrate, &[("1_a.up.sql", ""), ("1_a.down.sql", "DROP TABLE {{ t }};")]);
    assert_eq!(down, "DIR/1_a.down.sql: templates, which another program fills in: line 1: {{ t }}");
    let flyway = error(ForeignTool::Flyway, &[("V1__a.sql", "CREATE TABLE ${schema}.t ();")]);
    assert_eq!(flyway, "DIR/V1__a.sql: templates, which another program fills in: line 1: ${schema}");
}

#[test]
fn what_is_text_is_named_by_line() {
    for sql in ["SELECT '\n{{ name }}';", "SELECT $$\n{{ name }} $$;", "SELECT \"a\n{{ name }}\";"] {
        let found = read(ForeignTool::Sqlx, &[("1_a.sql", sql)]);
        assert_eq!(found[0].not_carried, ["1_a.sql:2: the placeholder {{ name }}"], "{sql}");
    }
    let found = read(
        ForeignTool::Prisma,
        &[("migration_lock.toml", "provider = \"postgresql\""), ("1_a/migration.sql", "SELECT '<%= x %>';")],
    );
    assert_eq!(found[0].not_carried, ["1_a/migration.sql:1: the placeholder <%= x %>"]);
    let found =
        read(ForeignTool::Dbmate, &[("1_a.sql", "-- migrate:up\nSELECT 1;\n-- migrate:down\nSELECT '{{ x }}';\n")]);
    assert_eq!(found[0].not_carried, ["1_a.sql:4: the placeholder {{ x }}"]);
}

#[test]
fn plain_sql_is_no_template() {
    for sql in [
        "SELECT '{{1,2},{3,4}}'::int[], '{{a,b},{c,d}}'::text[], '{{\"a\"}}'::text[], '{{1}}'::int[];",
        "SELECT '{\"a\":{\"b\":{}}}'::jsonb; SELECT '{%' LIKE '%}';",
        "SELECT a <% b, b %> a FROM t; SELECT 5 %-3;",
        "-- {{ comment }} <%= x %>\n/* ${x} {{ y }} */ SELECT $1, '$1', '${X}', '$HOME';",
        "DO $body$ BEGIN PERFORM '${X}'; END $body$;",
        "SELECT '{{}}', '{{ }}';",
    ] {
        assert_eq!(read(ForeignTool::Sqlx, &[("1_a.sql", sql)])[0].not_carried, Vec::<String>::new(), "{sql}");
    }
}
