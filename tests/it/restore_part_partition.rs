//! Partitions that were dropped come back as partitions.

use crate::support::{Contents, Scene, Version, only_in_the_long_form};

const SHOP: &str = "
    CREATE TABLE dish (id int PRIMARY KEY); INSERT INTO dish SELECT generate_series(1, 20);
    CREATE TABLE sale (id int, dish int REFERENCES dish, day int NOT NULL, note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
    CREATE INDEX sale_note ON sale (note);
    CREATE TABLE sale_1 PARTITION OF sale FOR VALUES FROM (0) TO (10);
    CREATE INDEX sale_1_own ON sale_1 (dish) WHERE dish > 3;
    CREATE TABLE sale_2 PARTITION OF sale FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (day);
    CREATE TABLE sale_2_a PARTITION OF sale_2 FOR VALUES FROM (10) TO (15);
    CREATE TABLE sale_2_b PARTITION OF sale_2 DEFAULT;
    INSERT INTO sale SELECT n, 1 + n % 20, n % 20, 'n' || n FROM generate_series(1, 400) n;
    CREATE TABLE pay (id int PRIMARY KEY, sale int, day int, FOREIGN KEY (sale, day) REFERENCES sale);";

fn partitions(scene: &Scene) -> String {
    scene.database.query(
        "SELECT relid, parentrelid, isleaf, pg_get_expr(c.relpartbound, c.oid),
                (SELECT string_agg(i.indexrelid::regclass || coalesce(' of ' || h.inhparent::regclass, ''), ' ' ORDER BY i.indexrelid::regclass::text)
                   FROM pg_index i LEFT JOIN pg_inherits h ON h.inhrelid = i.indexrelid WHERE i.indrelid = c.oid),
                (SELECT count(*) FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f')
           FROM pg_partition_tree('sale') JOIN pg_class c ON c.oid = relid ORDER BY relid::text",
    )
}

fn dropped_partitions_come_back(version: Version) {
    let scene = Scene::empty(version);
    scene.database.sql(SHOP);
    let id = scene.take_snapshot();
    let contents = || Contents::of(scene.cluster(), scene.database.name());
    let (before, tree) = (contents(), partitions(&scene));
    for dropped in ["sale_1", "sale_2"] {
        // A foreign key to the parent would go with it.
        scene.database.sql(&format!("ALTER TABLE pay DROP CONSTRAINT pay_sale_day_fkey; DROP TABLE {dropped}"));
        scene.run(0, &["restore", &id, "--table", dropped, "--yes"]);
        scene.database.sql("ALTER TABLE pay ADD FOREIGN KEY (sale, day) REFERENCES sale");
        assert_eq!(partitions(&scene), tree, "{dropped}");
        assert_eq!(contents(), before, "{dropped}");
        scene.database.sql("INSERT INTO sale VALUES (1000, 1, 3, NULL); DELETE FROM sale WHERE id = 1000");
        let orphan = scene.cluster().try_sql(scene.database.name(), "INSERT INTO sale VALUES (1000, 77, 3, NULL)");
        assert!(orphan.unwrap_err().contains("foreign key"), "{dropped}");
    }

    // Beside, it is a table to look at.
    let beside = scene.run(0, &["restore", &id, "--table", "sale_1", "--mode", "beside", "--yes"]);
    assert_eq!(partitions(&scene), tree, "{}", beside.stdout);
    let made = "SELECT relname FROM pg_class WHERE relname ~ '^sale_1_restored_.*c?$' AND relkind = 'r'";
    let made = scene.database.query(made);
    assert_eq!(scene.database.query(&format!("SELECT count(*) FROM {made}")), "200");
    scene.database.sql(&format!("DROP TABLE {made}"));

    // Another one has its place now; detached since, the rows come back into it.
    scene
        .database
        .sql("DROP TABLE pay; DROP TABLE sale_1; CREATE TABLE other PARTITION OF sale FOR VALUES FROM (5) TO (6)");
    let alone = scene.run(0, &["restore", &id, "--table", "sale_1", "--yes"]);
    assert!(alone.stdout.contains("its parent does not take it"), "{}{}", alone.stdout, alone.stderr);
    assert!(alone.stdout.contains("ATTACH PARTITION"), "{}", alone.stdout);
    assert_eq!(scene.database.query("SELECT count(*) FROM sale_1"), "200");
    scene.database.sql("DROP TABLE other; DELETE FROM sale_1 WHERE id < 100");
    scene.run(0, &["restore", &id, "--table", "sale_1", "--mode", "missing", "--yes"]);
    assert_eq!(scene.database.query("SELECT count(*) FROM sale_1"), "200");
}

#[test]
fn dropped_partitions_come_back_as_partitions() {
    if only_in_the_long_form() {
        return;
    }
    dropped_partitions_come_back(Version::V15);
}

#[test]
fn dropped_partitions_come_back_as_partitions_18() {
    dropped_partitions_come_back(Version::V18);
}
