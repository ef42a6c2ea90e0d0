//! `status --plan`, `--graph`, and Django's own words.

use crate::support::{Scene, Version};

fn scene() -> Scene {
    let scene = Scene::empty(Version::V15);
    scene.project.write_migration(
        "menu",
        "0001_initial",
        "-- migrate:up\nCREATE TABLE dish (id bigint PRIMARY KEY);\n-- migrate:down\nDROP TABLE dish;\n",
    );
    scene.project.write_migration("menu", "0002_name", "-- depends: orders/0001_initial\n-- migrate:up\nALTER TABLE dish ADD COLUMN name text;\n-- migrate:down\nALTER TABLE dish DROP COLUMN name;\n");
    scene.project.write_migration("orders", "0001_initial", "-- depends: menu/0001_initial\n-- migrate:up\nCREATE TABLE orders_order (id bigint PRIMARY KEY);\n-- migrate:down\nDROP TABLE orders_order;\n");
    scene
}

#[test]
fn the_order_with_when_and_by_whom() {
    let scene = scene();
    scene.run(0, &["apply", "orders", "--yes"]);
    let text = scene.run(0, &["status", "--plan"]).stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].starts_with("[X] menu/0001_initial    20") && lines[0].contains("Z  run 20"), "{text}");
    assert!(lines[0].split_once("  by ").is_some_and(|(_, by)| by.contains('@')), "{text}");
    assert!(lines[1].starts_with("[X] orders/0001_initial"), "{text}");
    assert_eq!(lines[2], "[ ] menu/0002_name");
    let json: serde_json::Value = serde_json::from_str(&scene.run(0, &["status", "--plan", "--json"]).stdout).unwrap();
    assert!(json["apps"]["menu"][0]["by"].as_str().unwrap().contains('@'));
    insta::assert_snapshot!(scene.run(0, &["status", "--graph", "mermaid"]).stdout, @r#"
    graph LR
      m0["menu/0001_initial"]:::applied
      m1["orders/0001_initial"]:::applied
      m2["menu/0002_name"]:::pending
      m0 --> m1
      m0 --> m2
      m1 --> m2
      classDef applied fill:#d5f5d5
      classDef pending stroke-dasharray:4
      classDef wrong fill:#f5d5d5
    "#);
    insta::assert_snapshot!(scene.run(0, &["status", "--graph", "dot", "menu"]).stdout, @r##"
    digraph migrations {
      rankdir=LR;
      node [shape=box];
      "menu/0001_initial" [style=filled, fillcolor="#d5f5d5"];
      "menu/0002_name" [style=dashed];
      "menu/0001_initial" -> "menu/0002_name";
    }
    "##);
    scene.run(3, &["status", "--plan", "--check"]);
    scene.run(2, &["status", "--graph", "png"]);
    scene.run(2, &["status", "--plan", "--graph", "dot"]);
    let unknown = scene.run(2, &["status", "--plan", "menus"]);
    assert!(unknown.stderr.contains("there is no app \"menus\""), "{}", unknown.stderr);
}

#[test]
fn the_words_of_django_are_understood() {
    let scene = scene();
    let listed = scene.run(0, &["showmigrations"]).stdout;
    assert!(listed.starts_with("no snapshot: a loss now would cost everything\nmenu\n  [ ] 0001_initial\n  [ ] 0002_name\norders\n  [ ] 0001_initial\n"), "{listed}");
    assert_eq!(
        scene.run(0, &["sqlmigrate", "menu", "0002"]).stdout,
        "BEGIN;\nALTER TABLE dish ADD COLUMN name text;\nCOMMIT;\n"
    );
    assert_eq!(
        scene.run(0, &["sqlmigrate", "menu", "0001", "--backwards"]).stdout,
        "BEGIN;\nDROP TABLE dish;\nCOMMIT;\n"
    );
    let planned = scene.run(0, &["migrate", "--plan"]).stdout;
    assert!(planned.starts_with("would change menu/0001_initial, orders/0001_initial, menu/0002_name"), "{planned}");
    scene.run(0, &["migrate", "menu", "0001", "--yes", "--noinput"]);
    scene.run(0, &["migrate", "--yes"]);
    assert_eq!(scene.run(0, &["makemigrations", "--merge"]).stdout, "No conflicts detected to merge.\n");
    // The wrong direction names the right command.
    let back = scene.run(2, &["migrate", "menu", "0001", "--yes"]);
    assert!(back.stderr.contains("hint: to go back, run `safe-migrate rollback menu 0001_initial`"), "{}", back.stderr);
    let zero = scene.run(2, &["migrate", "menu", "zero", "--yes"]);
    assert!(zero.stderr.contains("hint: run `safe-migrate rollback menu zero`"), "{}", zero.stderr);
    scene.run(0, &["rollback", "menu", "0001", "--yes"]);
    let forth = scene.run(2, &["rollback", "menu", "0002", "--yes"]);
    assert!(forth.stderr.contains("hint: to go forward, run `safe-migrate apply menu 0002_name`"), "{}", forth.stderr);
    let nothing = scene.run(2, &["sqlmigrate", "menu", "0009"]);
    assert!(nothing.stderr.contains("app `menu` has no migration `0009`"), "{}", nothing.stderr);
    // They are no part of the help.
    let help = scene.run(0, &["--help"]).stdout;
    assert!(!help.contains("sqlmigrate") && !help.contains("showmigrations"), "{help}");
}

#[test]
fn rows_of_another_databases_ledger_are_refused_with_both_named() {
    let scene = scene();
    scene.begin_applied();
    // The staging database, with the same store, and a migration more.
    let staging = scene.cluster().database();
    let url = staging.url();
    scene.project.write_migration("menu", "0003_price", "-- migrate:up\nALTER TABLE dish ADD COLUMN price int;\n");
    let applied = scene.project.run(&["apply", "--yes", "--database", &url, "--source", "staging"]);
    assert_eq!(applied.status, 0, "{}", applied.stderr);
    let row = staging.query("SELECT format('INSERT INTO safe_migrate.migration VALUES (%L, %L, %L, %L, %L, %L, %L)', app, name, checksum, text, applied_at, run_id, how) FROM safe_migrate.migration WHERE name = '0003_price'");
    scene.database.sql(&row);
    for arguments in
        [&["apply", "--yes"][..], &["plan"], &["apply", "--fake", "--yes"], &["rehearse", "--snapshot", "new"]]
    {
        let output = scene.run(3, arguments);
        let named = format!(
            "the ledger of \"{}\" (source test) holds rows of another database's:\n  menu/0003_price: run 20",
            scene.database.name()
        );
        assert!(output.stderr.contains(&named), "{}", output.stderr);
        assert!(output.stderr.contains(", of staging") || arguments[0] == "plan", "{}", output.stderr);
    }
    let status = scene.run(3, &["status", "--check"]);
    assert!(
        status.stderr.contains("the row of menu/0003_price is of run 20")
            && status.stderr.contains("which this ledger does not know"),
        "{}",
        status.stderr
    );
}
