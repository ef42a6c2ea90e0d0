//! The header lines of a migration file: `-- key: value` above `-- migrate:up`.

use std::time::Duration;

use super::duration::parse_duration;
use super::file::{AcceptedLoss, Allow};
use super::id::MigrationId;
use super::nearest::nearest;

/// The keys there are.
const KEYS: [&str; 9] = [
    "depends",
    "run-before",
    "replaces",
    "breaking",
    "allow",
    "accept-loss",
    "not-carried",
    "lock-timeout",
    "statement-timeout",
];

/// What one header line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderLine {
    Depends(Vec<MigrationId>),
    RunBefore(Vec<MigrationId>),
    Replaces(Vec<MigrationId>),
    Breaking(String),
    NotCarried(String),
    Allow(Allow),
    AcceptLoss(AcceptedLoss),
    LockTimeout(Duration),
    StatementTimeout(Duration),
}

/// The key of a comment that looks like a header line with a known key.
pub(super) fn known_key(comment: &str) -> Option<&str> {
    key_and_value(comment).map(|(key, _)| key).filter(|key| KEYS.contains(key))
}

/// Reads one line comment. None: a comment for people. An error says what is wrong with the line.
pub(super) fn read(comment: &str) -> Result<Option<HeaderLine>, String> {
    let Some((key, value)) = key_and_value(comment) else {
        return match without_colon(comment) {
            Some(key) => Err(format!("`{key}` wants a colon: `-- {key}: …`")),
            None => Ok(None),
        };
    };
    if !KEYS.contains(&key) {
        // A misspelt `depends` that passes for a remark would change the order without a word.
        return match nearest(&key.to_ascii_lowercase(), KEYS).first() {
            Some(meant) => Err(format!("unknown header `{key}:`; did you mean `{meant}:`?")),
            None => Ok(None),
        };
    }
    if value.is_empty() {
        return Err(format!("`{key}:` says nothing; fill it in or remove the line"));
    }
    let line = match key {
        "depends" => HeaderLine::Depends(migrations(key, value)?),
        "run-before" => HeaderLine::RunBefore(migrations(key, value)?),
        "replaces" => HeaderLine::Replaces(migrations(key, value)?),
        "breaking" => HeaderLine::Breaking(value.to_owned()),
        "not-carried" => HeaderLine::NotCarried(value.to_owned()),
        "lock-timeout" => HeaderLine::LockTimeout(limit(key, value)?),
        "statement-timeout" => HeaderLine::StatementTimeout(limit(key, value)?),
        "accept-loss" => HeaderLine::AcceptLoss(accepted_loss(value)?),
        _ => HeaderLine::Allow(allow(value)?),
    };
    Ok(Some(line))
}

/// Splits `-- key: value`; a key is one word of letters and dashes. `migrate:` lines are no headers.
fn key_and_value(comment: &str) -> Option<(&str, &str)> {
    let (key, value) = comment.strip_prefix("--")?.split_once(':')?;
    let key = key.trim();
    let is_word = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphabetic() || c == '-' || c == '_');
    (is_word && key != "migrate").then_some((key, value.trim()))
}

/// The key of a comment that is a header line but for its colon: what follows is what could follow it.
fn without_colon(comment: &str) -> Option<&str> {
    let mut words = comment.strip_prefix("--")?.split_whitespace();
    let (key, value) = (words.next()?, words.next()?);
    let fits = match key {
        "depends" | "run-before" | "replaces" => value.trim_end_matches(',').parse::<MigrationId>().is_ok(),
        "lock-timeout" | "statement-timeout" => parse_duration(value).is_ok(),
        // A code has a dash, and a remark that begins with this word hardly.
        "allow" => value.contains('-'),
        "accept-loss" => value.contains('.'),
        _ => false,
    };
    fits.then_some(key)
}

fn migrations(key: &str, value: &str) -> Result<Vec<MigrationId>, String> {
    value.split(',').map(|name| name.trim().parse().map_err(|error| format!("`{key}:` {error}"))).collect()
}

/// Zero would be no limit at all, for ever.
fn limit(key: &str, value: &str) -> Result<Duration, String> {
    match parse_duration(value).map_err(|error| format!("`{key}:` {error}"))? {
        Duration::ZERO => Err(format!("`{key}: {value}` would be no limit; leave the line out")),
        limit => Ok(limit),
    }
}

fn allow(value: &str) -> Result<Allow, String> {
    let (code, why) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
    if why.trim().is_empty() {
        return Err(format!("`allow: {code}` gives no reason; write `-- allow: {code} why it is fine here`"));
    }
    Ok(Allow { code: code.to_owned(), why: why.trim().to_owned() })
}

/// `public.dish.fax [max 50] why`; an object with a space in its name stands in double quotes.
fn accepted_loss(value: &str) -> Result<AcceptedLoss, String> {
    let end = |text: &str| text.find(char::is_whitespace).unwrap_or(text.len());
    let (object, rest) = match value.strip_prefix('"').and_then(|inner| inner.split_once('"')) {
        Some((object, rest)) => (object, rest),
        None => value.split_at(end(value)),
    };
    if object.split('.').filter(|part| !part.is_empty()).count() < 2 {
        return Err(format!(
            "`accept-loss: {object}` names no object; write schema.table (its rows) or schema.table.column"
        ));
    }
    let rest = rest.trim();
    let (max, why) = match rest.strip_prefix("max ") {
        Some(counted) => {
            let (number, why) = counted.trim_start().split_at(end(counted.trim_start()));
            let number = number.parse().map_err(|_| format!("`accept-loss: {object} max {number}` is no number"))?;
            (Some(number), why.trim())
        }
        None => (None, rest),
    };
    if why.is_empty() {
        return Err(format!("`accept-loss: {object}` gives no reason; write `-- accept-loss: {object} why it may go`"));
    }
    Ok(AcceptedLoss { object: object.to_owned(), max, why: why.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_key() {
        let a: MigrationId = "a/0001_x".parse().unwrap();
        let b: MigrationId = "b-1/0002_y".parse().unwrap();
        assert_eq!(
            read("-- depends: a/0001_x , b-1/0002_y").unwrap(),
            Some(HeaderLine::Depends(vec![a.clone(), b.clone()]))
        );
        assert_eq!(read("--run-before:a/0001_x").unwrap(), Some(HeaderLine::RunBefore(vec![a])));
        assert_eq!(read("-- replaces: b-1/0002_y").unwrap(), Some(HeaderLine::Replaces(vec![b])));
        assert_eq!(
            read("-- breaking: releases before 3.2: they read it").unwrap(),
            Some(HeaderLine::Breaking("releases before 3.2: they read it".to_owned()))
        );
        let allow = Allow { code: "drop-table".to_owned(), why: "unused since 2.0".to_owned() };
        assert_eq!(read("-- allow: drop-table  unused since 2.0 ").unwrap(), Some(HeaderLine::Allow(allow)));
    }

    #[test]
    fn accepted_losses_are_read() {
        let read = |comment: &str| match read(comment).unwrap() {
            Some(HeaderLine::AcceptLoss(loss)) => (loss.object, loss.max, loss.why),
            other => panic!("{comment}: {other:?}"),
        };
        let of = |object: &str, max, why: &str| (object.to_owned(), max, why.to_owned());
        assert_eq!(read("-- accept-loss: public.t.fax nobody reads it"), of("public.t.fax", None, "nobody reads it"));
        assert_eq!(read("-- accept-loss: public.t max 50  left of a test"), of("public.t", Some(50), "left of a test"));
        assert_eq!(read("-- accept-loss: \"public.my t\" maximal"), of("public.my t", None, "maximal"));
    }

    #[test]
    fn limits_are_read() {
        let two = Duration::from_secs(2);
        assert_eq!(read("-- lock-timeout: 2s").unwrap(), Some(HeaderLine::LockTimeout(two)));
        let ten = Duration::from_secs(600);
        assert_eq!(read("-- statement-timeout: 10min").unwrap(), Some(HeaderLine::StatementTimeout(ten)));
    }

    #[test]
    fn remarks_are_left_alone() {
        for comment in [
            "-- Adds allergens.",
            "-- Note: see the law",
            "-- see https://example.org",
            "--",
            "-- a b: c",
            "-- depends on the weather",
            "-- allow nothing",
        ] {
            assert_eq!(read(comment).unwrap(), None, "{comment}");
        }
    }

    #[test]
    fn a_wrong_header_is_an_error_that_says_why() {
        for (comment, part) in [
            ("-- depend: a/0001_x", "did you mean `depends:`"),
            ("-- Depends: a/0001_x", "did you mean `depends:`"),
            ("-- run_before: a/0001_x", "did you mean `run-before:`"),
            ("-- depends:", "says nothing"),
            ("-- depends: 0001_x", "does not say which app"),
            ("-- depends: a/0001_x,", "does not say which app"),
            ("-- depends: a/1_x", "is no migration name"),
            ("-- allow: drop-table", "gives no reason"),
            ("-- accept-loss: fax it is old", "names no object"),
            ("-- accept-loss: public.t", "gives no reason"),
            ("-- accept-loss: public.t max 50", "gives no reason"),
            ("-- accept-loss: public.t max many old", "is no number"),
            ("-- accept_loss: public.t old", "did you mean `accept-loss:`"),
            ("-- accept-loss public.t old", "wants a colon"),
            ("-- lock-timeout: soon", "is not a duration"),
            ("-- lock-timeout: 0", "would be no limit"),
            ("-- lock_timeout: 2s", "did you mean `lock-timeout:`"),
            ("-- depends a/0001_x", "wants a colon"),
            ("-- allow drop-table it is empty", "wants a colon"),
            ("-- lock-timeout 2s", "wants a colon"),
        ] {
            let error = read(comment).unwrap_err();
            assert!(error.contains(part), "{comment}: {error}");
        }
    }
}
