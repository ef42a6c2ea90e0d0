//! The HTML of the demo's rehearsals in headless Chromium, which `scripts/setup` installs; without it these tests fail.
//!
//! The pages and their pictures are kept in `report-pictures/` of cargo's target directory, to be looked at.

use std::path::{Path, PathBuf};

use crate::support::{Browser, Scene, Version, clean_command, output_of};

/// What the demo rehearses, and a heavy one on its largest tables.
const GOOD: &str = "-- migrate:up
ALTER TABLE menu_menuitem ADD COLUMN kilocalories integer NOT NULL DEFAULT 0 CHECK (kilocalories >= 0);
-- migrate:down
ALTER TABLE menu_menuitem DROP COLUMN kilocalories;
";
const BAD: &str = "-- migrate:up
CREATE UNIQUE INDEX menu_menuitem_one_price ON menu_menuitem (category_id, price);
-- migrate:down
DROP INDEX menu_menuitem_one_price;
";
const LARGE: &str = "-- breaking: app releases before 3.2 read orders_order.note
-- migrate:up
ALTER TABLE orders_orderitem ALTER COLUMN quantity TYPE bigint;
ALTER TABLE orders_order ADD COLUMN paid_at timestamptz;
UPDATE orders_order SET paid_at = updated_at WHERE status = 'paid';
CREATE INDEX orders_order_paid_at ON orders_order (paid_at);
ALTER TABLE orders_order ALTER COLUMN total SET NOT NULL;
DELETE FROM loyalty_pointsentry WHERE id % 3 = 0;
ALTER TABLE orders_order DROP COLUMN note;
-- migrate:down
ALTER TABLE orders_order ADD COLUMN note text NOT NULL DEFAULT '';
ALTER TABLE orders_order DROP COLUMN paid_at;
ALTER TABLE orders_orderitem ALTER COLUMN quantity TYPE integer;
";

fn pictures() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("report-pictures");
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// Rehearses one migration more; where its page lies.
fn rehearsed(scene: &Scene, name: &str, status: i32, app: &str, migration: &str, snapshot: &str) -> PathBuf {
    let file = scene.project.write_migration(app, "0099_the_one", migration);
    let page = pictures().join(format!("{name}.html"));
    let text = page.with_extension("md");
    let files = ["--html", page.to_str().unwrap(), "--markdown", text.to_str().unwrap()];
    let arguments = [&["rehearse", "--snapshot", snapshot], &files[..]].concat();
    if status == 0 {
        scene.rehearse(&arguments)
    } else {
        scene.run(status, &arguments)
    };
    std::fs::remove_file(file).unwrap();
    page
}

fn fill(scene: &Scene) {
    let directories = [scene.cluster().bin_dir().to_owned(), "/usr/bin".into(), "/bin".into()];
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/demo-data");
    output_of(
        clean_command("bash")
            .arg(script)
            .args(["--size", "small", "--database", &scene.database.url()])
            .env("PATH", std::env::join_paths(directories).unwrap()),
    );
}

/// Opens a page in each width and scheme: no complaint, no request but its own, nothing wider than the window.
fn looked_at(browser: &mut Browser, page: &Path, expected: &[&str]) {
    let all = [(1280, false), (400, true), (1280, true), (400, false)];
    for (width, dark) in all.into_iter().take(crate::support::rounds(2, 4) as usize) {
        browser.open(page, width, dark);
        let text = browser.text();
        for words in expected {
            assert!(text.contains(words), "{} lacks \"{words}\":\n{text}", page.display());
        }
        assert_eq!(browser.complaints(), Vec::<String>::new());
        assert_eq!(browser.requests(), [format!("file://{}", page.display())]);
        browser.value("document.querySelectorAll('details').forEach(one => one.open = true)");
        let widths = browser.value("[document.documentElement.scrollWidth, innerWidth]");
        assert!(widths[0].as_u64() <= widths[1].as_u64(), "{}: {widths} at {width}", page.display());
        browser.open(page, width, dark);
        let scheme = if dark { "dark" } else { "light" };
        browser.picture(&page.with_extension(format!("{width}.{scheme}.png")));
    }
    browser.open(page, 1280, false);
    browser.print(&page.with_extension("pdf"));
}

#[test]
fn the_pages_of_the_demos_rehearsals_can_be_read() {
    let scene = Scene::dusangire(Version::V15);
    let plan = pictures().join("plan.html");
    scene.rehearse(&["rehearse", "--snapshot", "new", "--html", plan.to_str().unwrap()]);
    scene.run(0, &["apply", "--yes", "--quiet"]);
    fill(&scene);
    let good = rehearsed(&scene, "good", 0, "menu", GOOD, "new");
    let bad = rehearsed(&scene, "bad", 3, "menu", BAD, "latest");
    let large = rehearsed(&scene, "large", 0, "orders", LARGE, "latest");

    let mut browser = Browser::start();
    let always = ["What users will notice", "Timeline", "Data changes", "The way back", "Versions and hashes"];
    let with = |more: &[&'static str]| [&always[..], more].concat();
    looked_at(&mut browser, &plan, &with(&["orders/0001_initial"]));
    let locked = "ACCESS EXCLUSIVE on public.menu_menuitem";
    looked_at(&mut browser, &good, &with(&["Pass", "reads and writes blocked for", locked, "Reversible"]));
    let stopped = "could not create unique index \"menu_menuitem_one_price\"";
    looked_at(&mut browser, &bad, &with(&["Fail", stopped, "at line 2 of", "CREATE UNIQUE INDEX", "Not measured"]));
    let large_words =
        ["Would be refused", "Data that is lost", "orders_order.note", "rewrites public.orders_orderitem"];
    looked_at(&mut browser, &large, &with(&large_words));
}

#[test]
fn the_browser_would_see_a_script_a_request_and_a_page_that_is_too_wide() {
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("page.html");
    let text = "<!DOCTYPE html><title>x</title><meta name=viewport content='width=device-width'>
        <img src='http://127.0.0.1:9/x.png'><p style='width:900px'>wide</p><script>console.error('seen')</script>";
    std::fs::write(&page, text).unwrap();
    let mut browser = Browser::start();
    browser.open(&page, 400, false);
    assert!(browser.complaints().iter().any(|said| said.contains("seen")));
    assert!(browser.requests().iter().any(|url| url == "http://127.0.0.1:9/x.png"));
    assert!(browser.value("document.documentElement.scrollWidth > 400").as_bool().unwrap());
}
