//! One instant: a snapshot holds what was committed at one moment, whatever goes on beside it.

use std::collections::BTreeSet;

use crate::support::{Scene, Version};

use super::backend::{Backend, finish, has_lock, start, wait_until, wait_until_in};

/// Four tables, so that several workers read them one after the other while money moves between all of them.
const ACCOUNTS: &str = "
    CREATE TABLE account (branch int, id int, balance numeric NOT NULL) PARTITION BY LIST (branch);
    CREATE TABLE account_0 PARTITION OF account FOR VALUES IN (0);
    CREATE TABLE account_1 PARTITION OF account FOR VALUES IN (1);
    CREATE TABLE account_2 PARTITION OF account FOR VALUES IN (2);
    CREATE TABLE savings (id int PRIMARY KEY, balance numeric NOT NULL);
    CREATE TABLE transfer (id bigserial PRIMARY KEY, amount int);
    INSERT INTO account SELECT i % 3, i, 100 FROM generate_series(1, 30000) i;
    INSERT INTO savings SELECT i, 100 FROM generate_series(1, 10000) i;
    CREATE INDEX ON account (id);";

/// A transfer takes from one table and gives to another, and says so in a third; each is one transaction.
const WRITER: &str = "
    DO $$ DECLARE sum int; payer int; payee int; BEGIN LOOP
        sum := 1 + (random() * 50)::int; payer := 1 + (random() * 29999)::int; payee := 1 + (random() * 9999)::int;
        UPDATE account SET balance = balance - sum WHERE id = payer;
        UPDATE savings SET balance = balance + sum WHERE id = payee;
        INSERT INTO transfer (amount) VALUES (sum);
        COMMIT;
    END LOOP; END $$;";

fn no_money_is_made_or_lost(version: Version) {
    let scene = Scene::empty(version);
    scene.database.sql(ACCOUNTS);
    let (cluster, name) = (scene.cluster().clone(), scene.database.name().to_owned());
    let mut writers: Vec<Backend<'_>> =
        (0..2).map(|n| Backend::open(&cluster, &name, &format!("{name}_writer_{n}"))).collect();
    writers.iter_mut().for_each(|writer| writer.send(WRITER));
    wait_until_in(&cluster, &name, "count(*) > 100 FROM transfer");
    let ids: Vec<String> = (0..4).map(|_| scene.take_snapshot()).collect();
    drop(writers);

    let mut moved = BTreeSet::new();
    for (number, id) in ids.iter().enumerate() {
        let copy = format!("{name}_copy_{number}");
        scene.run(0, &["restore", id, "--to", &copy, "--yes"]);
        let sums = "SELECT (SELECT sum(balance) FROM account) + (SELECT sum(balance) FROM savings),
                           (SELECT sum(balance) FROM savings) - 1000000 - (SELECT sum(amount) FROM transfer)";
        assert_eq!(cluster.query(&copy, sums), "4000000|0", "snapshot {number}");
        assert_eq!(cluster.query(&copy, "SELECT nextval('transfer_id_seq') > max(id) FROM transfer"), "t");
        moved.insert(cluster.query(&copy, "SELECT sum(balance) FROM savings"));
    }
    assert_eq!(moved.len(), ids.len(), "the writer stood still, and the sums prove nothing: {moved:?}");
}

#[test]
fn no_money_is_made_or_lost_under_a_steady_writer() {
    no_money_is_made_or_lost(Version::V15);
}

#[test]
fn no_money_is_made_or_lost_under_a_steady_writer_18() {
    if crate::support::only_in_the_long_form() {
        return;
    }
    no_money_is_made_or_lost(Version::V18);
}

/// Runs `change` in an open transaction, starts a snapshot, commits while the snapshot's leader waits for the lock,
/// and returns what `query` says in the copy.
fn after_a_change_that_the_leader_waited_for(change: &str, query: &str) -> String {
    let scene = Scene::empty(Version::V15);
    scene.database.sql(
        "CREATE TABLE goods (id int, name text); INSERT INTO goods SELECT i, 'old' FROM generate_series(1, 1000) i",
    );
    let (cluster, name) = (scene.cluster(), scene.database.name());
    let mut changer = Backend::open(cluster, name, &format!("{name}_changer"));
    changer.send(&format!("BEGIN; {change};"));
    wait_until(cluster, &has_lock(&scene, &format!("{name}_changer"), "AccessExclusive", true));
    let snapshot = start(&scene, &["snapshot", "create"]);
    wait_until(cluster, &has_lock(&scene, "safe-migrate snapshot leader", "AccessShare", false));
    changer.send("COMMIT;");
    let (status, id, stderr) = finish(snapshot);
    assert_eq!(status, 0, "{stderr}");
    let copy = format!("{name}_copy");
    scene.run(0, &["restore", id.trim(), "--to", &copy, "--yes"]);
    cluster.query(&copy, query)
}

#[test]
fn a_truncate_between_listing_and_locking_never_yields_an_empty_table() {
    let change = "TRUNCATE goods; INSERT INTO goods SELECT i, 'new' FROM generate_series(1, 7) i";
    let found = after_a_change_that_the_leader_waited_for(change, "SELECT count(*), min(name) FROM goods");
    assert_eq!(found, "7|new", "a snapshot from before the locks would see an emptied heap");
}

#[test]
fn a_rewriting_alter_between_listing_and_locking_never_yields_an_empty_table() {
    let change = "ALTER TABLE goods ALTER id TYPE bigint, ADD COLUMN price numeric DEFAULT random()";
    let query = "SELECT count(*), sum(id), pg_typeof(min(id)), count(price) FROM goods";
    assert_eq!(after_a_change_that_the_leader_waited_for(change, query), "1000|500500|bigint|1000");
}

#[test]
fn a_table_replaced_between_listing_and_locking_is_read_whole() {
    let change = "DROP TABLE goods; CREATE TABLE goods (id int); INSERT INTO goods VALUES (1), (2)";
    assert_eq!(after_a_change_that_the_leader_waited_for(change, "SELECT count(*) FROM goods"), "2");
}
