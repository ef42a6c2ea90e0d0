//! Damaged and hostile inputs: what others wrote is read without a panic, without a hang and within bounds of memory.
//!
//! Each input is a good one with a few mutations: bits, bytes, words of its own kind, parts repeated, moved or left out. A
//! seed names each, so that `SAFE_MIGRATE_FUZZ_SEED=N` repeats it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::Digest;

use crate::support::{Scene, Version, rounds};
use safe_migrate::lint::lint_files;
use safe_migrate::migration::{Migration, MigrationSet, split_statements};
use safe_migrate::postgres::row_comparison::{self, RowComparison};
use safe_migrate::postgres::{ConnectionSpec, Environment, archive_entries, copy, foreign_code, roles};
use safe_migrate::report::rehearsal::RehearsalReport;
use safe_migrate::schema::Schema;
use safe_migrate::snapshot::{Level, SnapshotId, SnapshotReader, list, verify};
use safe_migrate::store::{Store, StoreSettings};

/// As long as one input may take on a busy machine.
const LONGEST: Duration = Duration::from_secs(20);

/// A generator of numbers that a seed repeats (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    fn mutated(&mut self, good: &[u8], words: &[&str]) -> Vec<u8> {
        let mut bytes = good.to_vec();
        for _ in 0..=self.below(4) {
            let (at, length) = (self.below(bytes.len() + 1), self.below(40));
            let end = (at + length).min(bytes.len());
            match self.below(8) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = u8::try_from(self.below(256)).unwrap(),
                2 => drop(bytes.drain(at..end)),
                3 => {
                    let part = bytes[at..end].to_vec();
                    let times = self.below(200);
                    bytes.splice(at..at, part.iter().copied().cycle().take(part.len() * times));
                }
                4 => {
                    let part: Vec<u8> = bytes.drain(at..end).collect();
                    let to = self.below(bytes.len() + 1);
                    bytes.splice(to..to, part);
                }
                5 => bytes.truncate(at),
                _ => {
                    let word = words[self.below(words.len())].as_bytes();
                    let times = if self.below(20) == 0 { 3000 } else { 1 };
                    bytes.splice(at..at, word.iter().copied().cycle().take(word.len() * times));
                }
            }
        }
        bytes
    }
}

/// Feeds mutations of these inputs; a panic names the seed.
fn feed(name: &str, count: u32, corpus: &[Vec<u8>], words: &[&str], mut eat: impl FnMut(&[u8])) {
    assert!(!corpus.is_empty(), "{name} has no inputs to begin with");
    corpus.iter().for_each(|good| eat(good));
    let chosen = std::env::var("SAFE_MIGRATE_FUZZ_SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    let (first, count) = chosen.map_or_else(|| (rand::random::<u32>().into(), count), |seed| (seed, 1));
    let mut slowest = Duration::ZERO;
    for seed in first..first + u64::from(count) {
        let mut numbers = Numbers(seed);
        let good = &corpus[numbers.below(corpus.len())];
        let input = numbers.mutated(good, words);
        let begun = Instant::now();
        let eaten = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| eat(&input)));
        let took = begun.elapsed();
        slowest = slowest.max(took);
        assert!(eaten.is_ok() && took < LONGEST, "{name}: SAFE_MIGRATE_FUZZ_SEED={seed} repeats it ({took:?})");
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    eprintln!("{name}: {count} inputs, the slowest {slowest:?}, {peak}");
}

fn files_below(directory: &Path, end: &str, found: &mut Vec<Vec<u8>>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, end, found);
        } else if path.to_string_lossy().ends_with(end) {
            found.push(std::fs::read(path).unwrap());
        }
    }
}

fn sql_of_the_repository() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    files_below(&root.join("migrations"), ".sql", &mut found);
    files_below(&root.join("tests/it/make/pairs"), "after.sql", &mut found);
    found
}

const SQL: &[&str] = &[
    "'",
    "\"",
    "$$",
    "$a$",
    "--",
    "/*",
    "*/",
    "(",
    ")",
    ";",
    "E'\\",
    "U&'",
    "\\",
    "\n",
    "-- migrate:up\n",
    "-- migrate:down\n",
    "-- migrate:up transaction:false\n",
    "-- depends: a/0001_b\n",
    "-- replaces: a/0001_b\n",
    "-- allow: data-loss WHY\n",
    "-- migrate:up exec: x\n",
    "-- migrate:up batch:1000 key:a.b\n",
    ":from",
    ":to",
    "\u{0}",
    "CREATE TABLE t (",
    "BEGIN ATOMIC",
    "END",
    "CASE",
    "COPY t FROM stdin;\n",
    "\\.\n",
    "ALTER TABLE ",
    "::",
    "\u{feff}",
    "é",
];

#[test]
fn fuzz_migration_files_and_lint() {
    let path = PathBuf::from("kitchen/0001_x.sql");
    feed("migration files", rounds(1_000, 200_000), &sql_of_the_repository(), SQL, |input| {
        let Ok(migration) = Migration::parse("kitchen/0001_x".parse().unwrap(), path.clone(), input) else { return };
        if let Ok(set) = MigrationSet::new(vec![migration]) {
            drop(lint_files(&set, |_| true));
        }
    });
}

#[test]
fn fuzz_statements_schemas_and_archive_listings() {
    feed("texts of pg_dump", rounds(1_000, 200_000), &sql_of_the_repository(), SQL, |input| {
        let text = String::from_utf8_lossy(input);
        drop(split_statements(&text, 1));
        drop(Schema::from_dump(&text, Vec::new(), Vec::new()));
        drop(archive_entries::read(&text));
    });
}

/// What a schema would run of others is looked for in text that the store holds.
#[test]
fn fuzz_scripts_with_functions_of_others() {
    let good = "CREATE FUNCTION public.evil(x integer) RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;\n\
         ALTER FUNCTION public.evil(x integer) OWNER TO mallory;\nCREATE OPERATOR public.+ (FUNCTION = public.evil, LEFTARG = integer);\n\
         CREATE DOMAIN public.d AS integer DEFAULT 1 CONSTRAINT c CHECK ((public.evil(VALUE) AND (1 OPERATOR(public.+) 2)));\n\
         CREATE TABLE public.t (a public.d, b boolean GENERATED ALWAYS AS (public.evil(a)) STORED) PARTITION BY LIST (public.evil((a)::integer));\n\
         ALTER TABLE public.t OWNER TO cook;\nALTER TABLE ONLY public.t ATTACH PARTITION public.p DEFAULT;\n\
         CREATE INDEX i ON public.t USING btree (public.evil(COALESCE(1, a)), public.evil(a)) WHERE public.evil(1);\n\
         CREATE CAST (public.k AS integer) WITH FUNCTION public.evil(public.k) AS IMPLICIT;\n";
    let words = [SQL, &["public.evil(", "OPERATOR(public.", ")))", " OWNER TO ", "CHECK (", "DEFAULT ", "::"]].concat();
    feed("scripts with functions of others", rounds(2_000, 500_000), &[good.as_bytes().to_vec()], &words, |input| {
        drop(foreign_code::of_script(&String::from_utf8_lossy(input), &foreign_code::TrustedOwners::default()));
    });
}

#[test]
fn fuzz_scripts_of_roles() {
    let good = "SET default_transaction_read_only = off;\nCREATE ROLE cook;\nALTER ROLE cook WITH NOSUPERUSER LOGIN CONNECTION LIMIT 3;\n\
         COMMENT ON ROLE cook IS 'x';\nALTER ROLE cook SET search_path TO 'a', 'b';\nGRANT a TO cook WITH ADMIN OPTION, INHERIT TRUE GRANTED BY admin;\n\
         GRANT SET ON PARAMETER work_mem TO cook;\nSECURITY LABEL FOR x ON ROLE cook IS 'y';\n";
    feed("scripts of roles", rounds(3_000, 1_000_000), &[good.as_bytes().to_vec()], SQL, |input| {
        drop(roles::parse(&String::from_utf8_lossy(input)));
    });
}

const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "null",
    "true",
    "-1",
    "1e400",
    "18446744073709551616",
    "\\u0000",
    "\\ud800",
    "\"\"",
    "[[[[",
    "{\"a\":",
    "0.5",
    "\"features\": [\"x\"]",
    "\"format_version\": 99",
    "4294967296",
    "../",
    "\n",
];

#[test]
fn fuzz_manifests_and_chunks() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE dish AS SELECT i AS id, md5(i::text) AS name FROM generate_series(1, 2000) i; SELECT lo_from_bytea(0, 'x')");
    let id: SnapshotId = scene.take_snapshot().parse().unwrap();
    let root = scene.store.directory().to_owned();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let settings = StoreSettings::from_url(format!("file://{}", root.display()));
    let store = runtime.block_on(Store::open(&settings)).unwrap();
    let manifest = root.join(format!("snapshots/{id}/manifest.json"));
    let good = std::fs::read(&manifest).unwrap();
    let look = || {
        runtime.block_on(async {
            drop(list(&store).await);
            drop(SnapshotReader::open(&store, &id).await);
            drop(verify(&store, &id, Level::Hash, |_, _| ()).await);
        });
    };
    feed("manifests", rounds(300, 60_000), std::slice::from_ref(&good), JSON, |input| {
        std::fs::write(&manifest, input).unwrap();
        look();
        // Sealed again, as somebody would who means it.
        if let Ok(mut value) = serde_json::from_slice::<serde_json::Value>(input)
            && value.as_object_mut().is_some_and(|object| object.remove("checksum").is_some())
        {
            std::fs::write(&manifest, sealed(&value)).unwrap();
            look();
        }
    });
    std::fs::write(&manifest, &good).unwrap();

    let mut chunks = Vec::new();
    files_below(&root.join("chunks"), "", &mut chunks);
    let place = scene.store.objects().into_iter().map(|(key, _)| key).find(|key| key.starts_with("chunks/")).unwrap();
    let place = root.join(place);
    feed("chunks", rounds(300, 60_000), &chunks, &["\u{28}\u{b5}", "\0\0\0\0", "\u{fd}"], |input| {
        std::fs::write(&place, input).unwrap();
        look();
    });
}

fn sealed(value: &serde_json::Value) -> String {
    use sha2::{Digest, Sha256};
    let body = serde_json::to_string_pretty(value).unwrap() + "\n";
    let seal = format!("{{\n  \"checksum\": \"{}\",\n", hex::encode(Sha256::digest(&body)));
    body.replacen("{\n", &seal, 1)
}

#[test]
fn fuzz_reports_of_rehearsals() {
    let scene = Scene::dusangire(Version::V15);
    scene.run(0, &["rehearse", "--snapshot", "new"]);
    let mut reports = Vec::new();
    files_below(&scene.store.directory().join("rehearsals"), ".json", &mut reports);
    feed("reports of rehearsals", rounds(300, 60_000), &reports, JSON, |input| {
        let Ok(report) = serde_json::from_slice::<RehearsalReport>(input) else { return };
        drop(report.to_text());
        drop(safe_migrate::report::annotations(&report));
        drop(safe_migrate::report::sarif(&report));
    });
}

/// Through the program itself, as it stands and sealed again.
#[test]
fn fuzz_receipts() {
    let scene = Scene::dusangire(Version::V15);
    scene.run(0, &["rehearse", "--snapshot", "new"]);
    // That somebody changed what this machine wrote would end it before it is read.
    scene.project.forget_state();
    let rehearsal = scene.store.directory().join("rehearsals");
    let rehearsal = std::fs::read_dir(rehearsal).unwrap().next().unwrap().unwrap().path();
    let (id, file) = (rehearsal.file_name().unwrap().to_str().unwrap().to_owned(), rehearsal.join("receipt.json"));
    let good = std::fs::read(&file).unwrap();
    feed("receipts", rounds(12, 1_500), &[good], JSON, |input| {
        let sealed_anew = serde_json::from_slice::<serde_json::Value>(input).ok().and_then(|mut value| {
            value.as_object_mut()?.remove("sha256");
            let seal = hex::encode(sha2::Sha256::digest(value.to_string()));
            value.as_object_mut()?.insert("sha256".to_owned(), seal.into());
            Some(value.to_string().into_bytes())
        });
        for bytes in std::iter::once(input.to_vec()).chain(sealed_anew) {
            std::fs::write(&file, bytes).unwrap();
            let output = scene.project.run(&["apply", "--dry-run", "--rehearsal", &id]);
            assert!((0..=3).contains(&output.status), "exit {}: {}", output.status, output.stderr);
            assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
        }
    });
}

/// Rows out of a store go to a server as they are, and what it took is compared: the session stays in step, whatever they hold.
#[test]
fn fuzz_rows_as_copy_text() {
    let scene = Scene::empty(Version::V15);
    scene.database.sql("CREATE TABLE dish (id bigint, name text, photo bytea, facts jsonb)");
    let good = "1\tsoup\t\\\\xdeadbeef\t{\"hot\": true}\n2\ta\\tb\\\\c\\nd\t\\N\t[1, null]\n3\t\t\\\\x\t\\N\n";
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let url = scene.cluster().socket_url(scene.database.name());
    let spec = ConnectionSpec::parse(Some(&url), &Environment::default()).unwrap();
    let (session, second) =
        runtime.block_on(async { (spec.connect("test").await.unwrap(), spec.connect("test").await.unwrap()) });
    let columns: Vec<String> = ["id", "name", "photo", "facts"].map(str::to_owned).into();
    let pairs = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), (*name).to_owned())).collect();
    let mut taken = 0;
    feed("rows as COPY text", rounds(300, 60_000), &[good.as_bytes().to_vec()], COPY, |input| {
        runtime.block_on(async {
            let into = ("public", "dish");
            if copy::load(&session, into, &columns, "UTF8", bytes::Bytes::copy_from_slice(input)).await.is_ok() {
                taken += 1;
                let from = ("public.dish".to_owned(), "public.dish".to_owned());
                for key in [&["id"][..], &[]] {
                    let request = RowComparison {
                        from: from.clone(),
                        key: pairs(key),
                        columns: pairs(&["name", "photo"]),
                        samples: 3,
                    };
                    let found = row_comparison::compare(&session, &second, &request).await.unwrap();
                    assert_eq!((found.gone, found.new, found.before), (0, 0, found.after), "{found:?}");
                }
            }
            session.batch_execute("TRUNCATE public.dish").await.expect("the session is out of step");
        });
    });
    assert!(taken > 0, "no input was taken");
}

const COPY: &[&str] = &[
    "\t",
    "\n",
    "\\N",
    "\\.",
    "\\.\n",
    "\n\\.\n",
    "\\",
    "\\x",
    "\\000",
    "\\377",
    "\r",
    "\r\n",
    "\u{0}",
    "{}",
    "[]",
    "1",
    "-9223372036854775809",
    "\\\\xdeadbee",
    "DROP TABLE dish;\n",
    "é",
];

const TOML: &[&str] = &[
    "[",
    "]",
    "=",
    "\"",
    "'''",
    "\"\"\"",
    "[[",
    "#",
    "\n[database]\n",
    "url = \"postgres://a:b@c/d\"\n",
    "1979-05-27T07:32:00Z",
    "inf",
    "{ a = 1 }",
    "max_cache = \"1ZB\"\n",
    "-1",
    "\\u0000",
    "lock_timeout = \"99999999999999h\"\n",
    "\u{feff}",
];

/// Through the program itself: it ends as it does for a wrong configuration, never by a panic.
#[test]
fn fuzz_configurations() {
    let scene = Scene::empty(Version::V15);
    scene.run(0, &["init", "--force"]);
    let file = scene.project.directory().join("safe-migrate.toml");
    // All of its keys, without the marks that make them comments.
    let text = std::fs::read_to_string(&file).unwrap();
    let keys: String = text.lines().map(|line| format!("{}\n", line.strip_prefix('#').unwrap_or(line))).collect();
    feed("configurations", rounds(60, 10_000), &[text.into_bytes(), keys.into_bytes()], TOML, |input| {
        std::fs::write(&file, input).unwrap();
        let output = scene.project.run(&["lint"]);
        assert!((0..=3).contains(&output.status), "exit {}: {}", output.status, output.stderr);
        assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
    });
}
