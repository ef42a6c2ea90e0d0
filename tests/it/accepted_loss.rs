//! Loss of data that a person accepts in the migration's file, and what is no loss.

use serde_json::Value;

use crate::rehearse_data::{VERSIONS, kitchen, losses, report};
use crate::support::{Scene, Version};

const DISHES: &str = "CREATE TABLE dish (id int PRIMARY KEY, fax text, note text);
    INSERT INTO dish SELECT n, 'f' || n, CASE WHEN n < 3 THEN 'n' END FROM generate_series(1, 5) n;";
const DROP: &str = "-- migrate:up\nALTER TABLE dish DROP COLUMN fax;\n";

/// Writes the migration anew with these lines above it.
fn with_header(scene: &Scene, header: &str, text: &str) {
    scene.project.write_migration("kitchen", "0001_step", &format!("{header}{text}"));
}

fn document(scene: &Scene, status: i32) -> Value {
    serde_json::from_str(&scene.run(status, &["rehearse", "--json"]).stdout).unwrap()
}

#[test]
fn accepted_loss_of_the_file_covers_its_object_and_its_count_only() {
    let scene = kitchen(Version::V15, DISHES, &[DROP]);
    let refused = scene.run(3, &["rehearse"]);
    assert!(refused.stdout.contains("apply would refuse: 1 loss of data is accepted nowhere"), "{}", refused.stdout);
    assert!(refused.stderr.contains("\n  -- accept-loss: public.dish.fax WHY"), "{}", refused.stderr);
    for header in [
        "-- accept-loss: public.dish.note the other column\n",
        "-- accept-loss: public.dish the rows\n",
        "-- accept-loss: public.dish.fax max 4 one too few\n",
    ] {
        with_header(&scene, header, DROP);
        assert_eq!(document(&scene, 3)["apply_would"]["do"], "refuse", "{header}");
    }
    with_header(&scene, "-- allow: drop-column meant\n-- accept-loss: public.dish.fax max 5 nobody reads it\n", DROP);
    let passes = document(&scene, 0);
    assert_eq!(passes["apply_would"]["do"], "apply");
    assert_eq!(passes["rehearsal"]["losses"][0]["accepted"], "kitchen/0001_step: nobody reads it");
    assert_eq!(passes["rehearsal"]["refusals"], serde_json::json!([]));
    let markdown = scene.run(0, &["rehearse", "--markdown", "-"]).stdout;
    assert!(markdown.contains("1 accepted loss of data") && markdown.contains("nobody reads it"), "{markdown}");
    // What nobody measured is not accepted by a line.
    let unmeasured = scene.run(3, &["apply", "--yes", "--skip-rehearsal", "x", "--skip-snapshot", "y"]);
    assert!(unmeasured.stderr.contains("--accept-data-loss"), "{}", unmeasured.stderr);
    // One more value since the snapshot: the rehearsal of a new one sees it.
    scene.database.sql("INSERT INTO dish VALUES (6, 'f6')");
    scene.run(3, &["apply", "--yes", "--rehearsal", "new"]);
    scene.database.sql("DELETE FROM dish WHERE id = 6");
    let applied = scene.run(0, &["apply", "--yes", "--rehearsal", "new"]);
    assert!(
        applied.stderr.contains(
            "data loss: column public.dish.fax is gone with 5 values; accepted by kitchen/0001_step: nobody reads it"
        ),
        "{}",
        applied.stderr
    );
}

#[test]
fn accepted_loss_on_the_command_line_can_be_rehearsed() {
    let scene = kitchen(Version::V18, DISHES, &[DROP]);
    let refused = document(&scene, 3);
    let hash: String = refused["rehearsal"]["plan_hash"].as_str().unwrap().chars().take(12).collect();
    let said = scene.run(0, &["rehearse", "--accept-data-loss", &hash]);
    assert!(
        said.stdout.contains("accepted by --accept-data-loss") && !said.stdout.contains("would refuse"),
        "{}",
        said.stdout
    );
    scene.run(3, &["rehearse", "--accept-data-loss", "0123456789ab"]);
}

/// Prices up by a tenth, then room for larger ones: nothing is lost. A type with less room, or a column made anew: it is.
#[test]
fn accepted_loss_is_none_where_only_statements_changed_values() {
    let columns = "id int PRIMARY KEY, price numeric(10, 2), size int, code varchar(9)";
    let fill = "SELECT n, n + 0.25, n, 'c' || n FROM generate_series(1, 3) n";
    let tables: String = ["a", "b", "c", "d", "e"]
        .iter()
        .map(|name| format!("CREATE TABLE {name} ({columns}); INSERT INTO {name} {fill};"))
        .collect();
    let statements = "UPDATE a SET price = price * 1.1;
ALTER TABLE a ALTER price TYPE numeric(12, 2);
ALTER TABLE b ALTER size TYPE bigint;
UPDATE b SET size = size + 1;
UPDATE c SET code = upper(code);
ALTER TABLE c ALTER code TYPE text;
ALTER TABLE d ALTER price TYPE numeric(12, 1);
ALTER TABLE e ADD made int;
UPDATE e SET made = size + 1;
ALTER TABLE e DROP size;
ALTER TABLE e RENAME made TO size;";
    let allowed = "-- allow: rename-column meant\n-- allow: drop-column meant\n";
    let scene = kitchen(VERSIONS[0], &tables, &[&format!("{allowed}-- migrate:up\n{statements}\n")]);
    let report = report(&scene, 3, &[]);
    let lost =
        ["3 values of public.d.price changed with its type", "3 values of public.e.size are others: it was made anew"];
    assert_eq!(losses(&report), lost);
}
