use super::*;

fn merge(flags: &GlobalArguments, environment: &Environment, text: &str) -> Result<Config, CliError> {
    let path = PathBuf::from("/repo/safe-migrate.toml");
    let file = ConfigFile::parse(text, &path)?;
    Config::merge(flags, environment, Path::new("/repo/sub"), Some(path), file)
}

fn merged(flags: &GlobalArguments, environment: &Environment, text: &str) -> Config {
    merge(flags, environment, text).expect("a valid configuration")
}

#[test]
fn flags_win_over_environment_over_file() {
    let text = "[database]\nurl = \"dbname=file\"";
    let environment =
        Environment::from([("SAFE_MIGRATE_DATABASE_URL", "dbname=ours"), ("DATABASE_URL", "dbname=theirs")]);
    let flag = GlobalArguments { database: Some("dbname=flag".into()), ..GlobalArguments::default() };
    let none = GlobalArguments::default();
    let url = |flags: &GlobalArguments, environment: &Environment, text: &str| {
        merged(flags, environment, text).database_url().map(str::to_string)
    };

    assert_eq!(url(&flag, &environment, text).as_deref(), Some("dbname=flag"));
    assert_eq!(url(&none, &environment, text).as_deref(), Some("dbname=ours"));
    let theirs = Environment::from([("DATABASE_URL", "dbname=theirs")]);
    assert_eq!(url(&none, &theirs, text).as_deref(), Some("dbname=theirs"));
    assert_eq!(url(&none, &Environment::default(), text).as_deref(), Some("dbname=file"));
    assert_eq!(url(&none, &Environment::default(), ""), None);
}

#[test]
fn paths_of_the_file_relate_to_the_file_and_paths_of_flags_to_the_current_directory() {
    let text = "[migrations]\ndir = \"db\"\n[store]\nurl = \"../backup\"\n[shadow]\nbin_dir = \"pg/bin\"";
    let config = merged(&GlobalArguments::default(), &Environment::default(), text);
    assert_eq!(config.migrations.dir, Path::new("/repo/db"));
    assert_eq!(config.store.url.as_deref(), Some("file:///repo/../backup"));
    assert_eq!(config.shadow.bin_dir.as_deref(), Some(Path::new("/repo/pg/bin")));

    let flags = GlobalArguments {
        migrations: Some("db".into()),
        store: Some("s3://bucket/prefix".into()),
        ..GlobalArguments::default()
    };
    let config = merged(&flags, &Environment::default(), text);
    assert_eq!(config.migrations.dir, Path::new("/repo/sub/db"));
    assert_eq!(config.store.url.as_deref(), Some("s3://bucket/prefix"));
}

#[test]
fn only_a_local_database_has_a_default_store() {
    let config = merged(&GlobalArguments::default(), &Environment::default(), "");
    let local = config.resolve_store(true).expect("a default");
    assert_eq!(local.url.as_deref(), Some("file:///repo/.safe-migrate/store"));
    let error = config.resolve_store(false).expect_err("no default");
    assert_eq!((error.kind.exit_code(), error.code), (2, "store-missing"));

    let named = merged(&GlobalArguments::default(), &Environment::default(), "[store]\nurl = \"s3://b\"");
    assert_eq!(named.resolve_store(false).expect("the named one").url.as_deref(), Some("s3://b"));
}

#[test]
fn a_password_in_the_file_or_on_the_command_line_is_warned_of_and_never_shown() {
    let url = "postgres://u:s3cret@h/d";
    let file = merged(&GlobalArguments::default(), &Environment::default(), &format!("[database]\nurl = \"{url}\""));
    assert_eq!(file.warnings.len(), 1);
    assert!(file.warnings[0].contains("/repo/safe-migrate.toml holds a password"), "{:?}", file.warnings);
    assert!(!format!("{file:?}").contains("s3cret"));

    let flags = GlobalArguments { database: Some(url.into()), ..GlobalArguments::default() };
    assert_eq!(merged(&flags, &Environment::default(), "").warnings.len(), 1);
    let clean = merged(&GlobalArguments::default(), &Environment::from([("DATABASE_URL", url)]), "");
    assert_eq!(clean.warnings, Vec::<String>::new());
}

#[test]
fn values_out_of_range_are_refused() {
    for text in [
        "[snapshot]\njobs = 0",
        "[snapshot]\ncompression = 20",
        "[snapshot]\nlock_wait = \"0\"",
        "[snapshot]\nlock_wait = \"61m\"",
        "[database]\npassword_command = []",
    ] {
        let error = merge(&GlobalArguments::default(), &Environment::default(), text).expect_err(text);
        assert_eq!(error.code, "config-invalid", "{text}");
    }
    let blank = merge(&GlobalArguments::default(), &Environment::default(), "[database]\nsource = \" \"");
    assert_eq!(blank.expect_err("a blank name").code, "source-invalid");
}

#[test]
fn a_password_command_is_a_list_or_a_line_for_the_shell() {
    let command = |text: &str| {
        merged(&GlobalArguments::default(), &Environment::default(), &format!("[database]\npassword_command = {text}"))
            .database
            .password_command
            .expect("a command")
    };
    assert_eq!(command(r#"["pass", "show", "a b"]"#), ["pass", "show", "a b"]);
    assert_eq!(command(r#""pass show shop | head -1""#), ["sh", "-c", "pass show shop | head -1"]);
}

#[test]
fn a_timeout_of_zero_is_no_timeout() {
    let text = "[apply]\nstatement_timeout = \"0\"\nlock_timeout = \"500ms\"";
    let config = merged(&GlobalArguments::default(), &Environment::default(), text);
    assert_eq!(config.apply.statement_timeout, None);
    assert_eq!(config.apply.lock_timeout, Duration::from_millis(500));
    assert_eq!(quantity::parse_size("100GB"), Ok(config.ask_above));
}
