use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};

/// Makes programs that say this version.
fn install(dir: &Path, version: &str, programs: &[&str]) {
    for program in programs {
        let path = dir.join(program);
        std::fs::write(&path, format!("#!/bin/sh\necho '{program} (PostgreSQL) {version}'\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn environment(path: &[&Path]) -> Environment {
    let path = std::env::join_paths(path).unwrap().into_string().unwrap();
    [("PATH", path.as_str()), ("PGPASSWORD", "hunter2"), ("AWS_SECRET_ACCESS_KEY", "hunter2"), ("HOME", "/h")]
        .into_iter()
        .collect()
}

#[test]
fn versions() {
    for (output, major, minor) in [
        ("pg_dump (PostgreSQL) 15.20 (Debian 15.20-1.pgdg13+1)", 15, 20),
        ("pg_dump (PostgreSQL) 18.1", 18, 1),
        ("pg_dump (PostgreSQL) 19beta2", 19, 0),
        ("pg_dump (PostgreSQL) 9.6.24", 9, 6),
    ] {
        assert_eq!(ProgramVersion::parse(output), Some(ProgramVersion { major, minor }), "{output}");
    }
    assert_eq!(ProgramVersion::parse("pg_dump: error"), None);
    assert_eq!(ProgramVersion::from_server(150_020).to_string(), "15.20");
}

// Major version 77: what is installed on the machine plays no part.
#[test]
fn takes_the_named_directory_then_the_newest_minor_version() {
    let (named, old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    install(named.path(), "77.1", &CLIENT_PROGRAMS);
    install(old.path(), "77.2", &CLIENT_PROGRAMS);
    install(new.path(), "77.3", &CLIENT_PROGRAMS);
    install(new.path(), "77.3", &SERVER_PROGRAMS);
    let environment = environment(&[old.path(), new.path()]);

    let programs = Programs::find(77, Some(named.path()), &environment).unwrap();
    assert_eq!((programs.dir(), programs.has_server()), (named.path(), false));
    assert!(matches!(programs.check_has_server(), Err(ProgramError::Missing { program, .. }) if program == "initdb"));
    let programs = Programs::find(77, None, &environment).unwrap();
    assert_eq!((programs.dir(), programs.has_server()), (new.path(), true));
    programs.check_not_older_than(770_003).unwrap();
    let error = programs.check_not_older_than(770_004).unwrap_err();
    assert!(error.to_string().contains("77.3, older than the server's 77.4"), "{error}");
    assert!(error.hint().contains("77.4"));
}

#[test]
fn a_directory_that_lacks_a_program_or_holds_wrappers_is_passed_over() {
    let (partial, wrapped, real) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    install(partial.path(), "77.9", &CLIENT_PROGRAMS[..1]);
    install(wrapped.path(), "77.9", &["pg_wrapper"]);
    for program in CLIENT_PROGRAMS {
        symlink(wrapped.path().join("pg_wrapper"), wrapped.path().join(program)).unwrap();
    }
    install(real.path(), "77.1", &CLIENT_PROGRAMS);
    let programs = Programs::find(77, None, &environment(&[partial.path(), wrapped.path(), real.path()])).unwrap();
    assert_eq!(programs.dir(), real.path());
}

#[test]
fn other_major_versions_are_named() {
    let dir = tempfile::tempdir().unwrap();
    install(dir.path(), "76.4", &CLIENT_PROGRAMS);
    let error = Programs::find(77, None, &environment(&[dir.path()])).unwrap_err();
    assert!(matches!(error, ProgramError::WrongMajor { wanted: 77, .. }), "{error}");
    assert!(error.to_string().contains(&format!("76.4 in {}", dir.path().display())), "{error}");
    assert!(error.hint().contains("postgresql-client-77"));
}

#[tokio::test]
async fn a_program_sees_neither_connection_variables_nor_credentials() {
    let dir = tempfile::tempdir().unwrap();
    install(dir.path(), "77.1", &CLIENT_PROGRAMS);
    std::fs::write(dir.path().join("pg_restore"), "#!/bin/sh\n/usr/bin/env\n").unwrap();
    let programs = Programs::find(77, None, &environment(&[dir.path()])).unwrap();
    let output = programs.command("pg_restore").output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("HOME=/h") && !text.contains("hunter2"), "{text}");
}

#[test]
fn the_programs_of_this_machine_are_found() {
    let environment: Environment = std::env::vars().collect();
    let programs = Programs::find(15, None, &environment).expect("these tests need PostgreSQL 15's programs");
    assert!(programs.has_server());
    assert!(Programs::all_found(&environment).iter().any(|found| found.version() == programs.version()));
}
