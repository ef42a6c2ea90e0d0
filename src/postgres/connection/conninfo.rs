//! Connection strings: `postgres://…` URLs and `keyword=value` lists, by libpq's rules.
//!
//! No error here repeats any part of the string that could belong to a password.

use super::ConnectionError;
use super::keyword::Parameters;

/// Reads a connection string of either form.
pub(super) fn parse(text: &str) -> Result<Parameters, ConnectionError> {
    let text = text.trim();
    match text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://")) {
        Some(rest) => parse_url(rest),
        None if text.contains("://") && !text.split("://").next().unwrap_or_default().contains('=') => {
            malformed("a URL must begin with postgres:// or postgresql://")
        }
        None => parse_keywords(text),
    }
}

fn malformed<T>(reason: &'static str) -> Result<T, ConnectionError> {
    Err(ConnectionError::MalformedString { reason })
}

fn parse_url(rest: &str) -> Result<Parameters, ConnectionError> {
    let mut parameters = Parameters::default();
    // Credentials end at the first '@' before any '/', as in libpq; a '?' or '#' in a password needs no escape.
    let (before_path, _) = rest.split_once('/').unwrap_or((rest, ""));
    let after_credentials = match before_path.split_once('@') {
        Some((user_info, hosts)) if !hosts.split('?').next().unwrap_or_default().contains('@') => {
            let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
            set_decoded(&mut parameters, "user", user)?;
            set_decoded(&mut parameters, "password", password)?;
            &rest[user_info.len() + 1..]
        }
        Some(_) => return malformed("an '@' in the user or the password must be written as %40"),
        None => rest,
    };
    let (before_query, query) = after_credentials.split_once('?').unwrap_or((after_credentials, ""));
    let (host_and_port, database) = before_query.split_once('/').unwrap_or((before_query, ""));
    // libpq would take it; but after a '/' in a password this is the rest of that password, and names are shown.
    if database.contains('@') {
        return malformed("an '@' in the database's name must be written as %40, and a '/' in a password as %2F");
    }
    set_host_and_port(&mut parameters, host_and_port)?;
    set_decoded(&mut parameters, "dbname", database)?;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((keyword, value)) = pair.split_once('=') else {
            return malformed("a query parameter of the URL lacks its '='");
        };
        set_query(&mut parameters, &decode(keyword)?, decode(value)?)?;
    }
    Ok(parameters)
}

fn set_query(parameters: &mut Parameters, keyword: &str, value: String) -> Result<(), ConnectionError> {
    // JDBC's spelling, which libpq takes in URLs too.
    if keyword == "ssl" && value == "true" {
        return parameters.set("sslmode", "require".to_owned());
    }
    parameters.set(keyword, value)
}

fn set_host_and_port(parameters: &mut Parameters, text: &str) -> Result<(), ConnectionError> {
    if text.contains(',') {
        return Err(ConnectionError::MultipleHosts);
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let Some((address, after)) = bracketed.split_once(']') else {
                return malformed("the address in the URL lacks its ']'");
            };
            match after.strip_prefix(':') {
                None if !after.is_empty() => return malformed("only a port may follow the ']' in the URL"),
                port => (address, port.unwrap_or_default()),
            }
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    set_decoded(parameters, "host", host)?;
    set_decoded(parameters, "port", port)
}

fn set_decoded(parameters: &mut Parameters, keyword: &'static str, text: &str) -> Result<(), ConnectionError> {
    if text.is_empty() { Ok(()) } else { parameters.set(keyword, decode(text)?) }
}

/// Undoes percent-encoding; a '+' stays a '+', as in libpq.
fn decode(text: &str) -> Result<String, ConnectionError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits =
            rest.get(..2).and_then(|digits| hex::decode(digits).ok()).and_then(|decoded| decoded.first().copied());
        match digits {
            Some(0) => return malformed("the URL holds %00, which no value may"),
            Some(decoded) => bytes.push(decoded),
            None => {
                return malformed("a '%' in the URL must be followed by two hexadecimal digits (write %25 for '%')");
            }
        }
        rest = &rest[2..];
    }
    String::from_utf8(bytes).or_else(|_| malformed("the URL does not decode to UTF-8"))
}

/// Reads `keyword = value` pairs; values with spaces in single quotes, `\` escapes the next character.
fn parse_keywords(text: &str) -> Result<Parameters, ConnectionError> {
    let mut parameters = Parameters::default();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let Some((keyword, after)) = rest.split_once('=') else {
            return malformed(
                "expected keyword=value; a value with spaces needs single quotes, and a database name alone is written dbname=NAME",
            );
        };
        let keyword = keyword.trim();
        if keyword.contains(char::is_whitespace) {
            return malformed("a word stands without '='; a value with spaces needs single quotes");
        }
        let (value, after) = read_value(after.trim_start())?;
        parameters.set(keyword, value)?;
        rest = after.trim_start();
    }
    Ok(parameters)
}

/// Reads one value; gives it without quotes and escapes, and what follows.
fn read_value(text: &str) -> Result<(String, &str), ConnectionError> {
    let quoted = text.starts_with('\'');
    let body = if quoted { &text[1..] } else { text };
    let mut value = String::new();
    let mut letters = body.char_indices();
    while let Some((index, letter)) = letters.next() {
        match letter {
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Ok((value, &body[index + 1..])),
            letter if !quoted && letter.is_whitespace() => return Ok((value, &body[index..])),
            letter => value.push(letter),
        }
    }
    if quoted { malformed("a quoted value lacks its closing quote") } else { Ok((value, "")) }
}
