//! A batched migration that is killed again and again raises each price exactly once.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Scene, Version};

const SKIP: [&str; 6] = ["apply", "--yes", "--skip-rehearsal", "test", "--skip-snapshot", "test"];

#[test]
fn batches_killed_at_random_visit_each_row_once() {
    let kills = crate::support::rounds(8, 100);
    let scene = Scene::empty(Version::V15);
    scene.database.sql(&format!(
        "CREATE TABLE dish (id int PRIMARY KEY, price numeric NOT NULL);
         INSERT INTO dish SELECT i, 100 FROM generate_series(1, {}) i",
        kills * 4000
    ));
    let up = "-- migrate:up transaction:false batch:5 key:dish.id\nUPDATE dish SET price = price * 1.1 WHERE id > :from AND id <= :to;\n";
    scene.project.write_migration("menu", "0001_prices", up);
    for kill in 0..kills {
        let before = scene.rows_done();
        let mut run = scene.project.command(&SKIP).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while scene.rows_done() == before {
            assert!(run.try_wait().unwrap().is_none() && Instant::now() < deadline, "kill {kill}: no batch");
        }
        std::thread::sleep(Duration::from_micros(rand::random_range(0..200_000)));
        assert!(run.try_wait().unwrap().is_none(), "kill {kill}: it was done already; the table is too small");
        run.kill().unwrap();
        run.wait().unwrap();
        // The application goes on meanwhile, behind and before the place.
        scene.database.sql(&format!("INSERT INTO dish VALUES ({}, 7)", 10_000_000 + kill));
    }
    write_fast(&scene);
    scene.run(0, &SKIP);
    let prices = "SELECT price, count(*) FROM dish GROUP BY 1 ORDER BY 1";
    assert_eq!(scene.database.query(prices), format!("7|{kills}\n110.0|{}", kills * 4000));
    let journal =
        "SELECT max(rows_done), count(DISTINCT run_id), string_agg(DISTINCT state, ' ') FROM safe_migrate.step";
    assert_eq!(scene.database.query(journal), format!("{}|{}|recorded", kills * 4000, kills + 1));
}

/// The size of a batch may change in the middle.
fn write_fast(scene: &Scene) {
    let up = "-- migrate:up transaction:false batch:1000 key:dish.id\nUPDATE dish SET price = price * 1.1 WHERE id > :from AND id <= :to;\n";
    scene.project.write_migration("menu", "0001_prices", up);
}
