//! The script of roles in a snapshot, read back into facts: that of `pg_dumpall` in older snapshots, ours in newer ones.
//!
//! Nothing of the script is ever run. A statement of another form than these is left out, and named.

use crate::migration::split_statements;

use super::facts::{Membership, ParameterGrant, Role, RoleFacts};

/// What a script says, and what of it was not understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedRoles {
    /// The facts.
    pub facts: RoleFacts,
    /// The first words of each statement that is left out.
    pub left_out: Vec<String>,
}

/// Letters of a statement that is left out that are shown.
const SHOWN: usize = 60;

/// Reads a script.
pub fn parse(script: &str) -> ParsedRoles {
    let mut parsed = ParsedRoles::default();
    // Commands of psql stand on lines of their own, before and behind all statements, in what pg_dumpall writes.
    let script = without_restrict(script);
    let statements = match split_statements(script, 1) {
        Ok(statements) => statements,
        Err(error) => {
            parsed.left_out.push(format!("the whole script: {error}"));
            return parsed;
        }
    };
    for statement in statements {
        let tokens = statement.tokens();
        let tokens = tokens.strip_suffix(&[";"]).unwrap_or(&tokens);
        if read(&mut parsed.facts, tokens).is_none() {
            parsed.left_out.push(tokens.join(" ").chars().take(SHOWN).collect());
        }
    }
    parsed
}

/// The script without its first and last command of psql.
pub fn without_restrict(script: &str) -> &str {
    let mut rest = script.trim();
    while let Some((line, behind)) = rest.split_once('\n')
        && (line.starts_with("\\restrict ") || line.starts_with("--") || line.trim().is_empty())
    {
        rest = behind;
    }
    match rest.rsplit_once('\n') {
        Some((before, line)) if line.starts_with("\\unrestrict ") => before,
        _ => rest,
    }
}

/// Takes one statement into the facts; none when it is of no form that is known.
fn read(facts: &mut RoleFacts, tokens: &[&str]) -> Option<()> {
    match tokens {
        // The head of the script: encoding, quoting, no default of being read-only.
        ["SET", "default_transaction_read_only" | "client_encoding" | "standard_conforming_strings", ..] => {}
        ["CREATE", "ROLE", name] => {
            let name = identifier(name)?;
            facts.roles.push(Role { name, inherit: true, connection_limit: -1, ..Role::default() });
        }
        ["ALTER", "ROLE", name, "WITH", options @ ..] => attributes(role(facts, name)?, options)?,
        ["ALTER", "ROLE", name, "SET", rest @ ..] => {
            let at = rest.iter().position(|token| *token == "TO")?;
            let setting = parameter(rest.get(..at)?)?;
            let values = literals(rest.get(at + 1..)?)?;
            role(facts, name)?.settings.push((setting, values));
        }
        ["COMMENT", "ON", "ROLE", name, "IS", text] => role(facts, name)?.comment = Some(literal(text)?),
        ["SECURITY", "LABEL", "FOR", provider, "ON", "ROLE", name, "IS", text] => {
            let label = (identifier(provider)?, literal(text)?);
            role(facts, name)?.labels.push(label);
        }
        ["GRANT", "SET", "ON", "PARAMETER", rest @ ..] => facts.parameters.push(parameter_grant(false, rest)?),
        ["GRANT", "ALTER", "SYSTEM", "ON", "PARAMETER", rest @ ..] => {
            facts.parameters.push(parameter_grant(true, rest)?);
        }
        ["GRANT", role, "TO", member, rest @ ..] => facts.memberships.push(membership(role, member, rest)?),
        _ => return None,
    }
    Some(())
}

/// The role of this name, which the script made before.
fn role<'a>(facts: &'a mut RoleFacts, name: &str) -> Option<&'a mut Role> {
    let name = identifier(name)?;
    facts.roles.iter_mut().find(|role| role.name == name)
}

fn attributes(role: &mut Role, options: &[&str]) -> Option<()> {
    let mut rest = options;
    loop {
        rest = match rest {
            [] => return Some(()),
            ["CONNECTION", "LIMIT", "-", number, rest @ ..] => {
                role.connection_limit = -number.parse::<i32>().ok()?;
                rest
            }
            ["CONNECTION", "LIMIT", number, rest @ ..] => {
                role.connection_limit = number.parse().ok()?;
                rest
            }
            ["VALID", "UNTIL", until, rest @ ..] => {
                role.valid_until = Some(literal(until)?);
                rest
            }
            [word, rest @ ..] => {
                let (is, attribute) = match word.strip_prefix("NO") {
                    Some(attribute) => (false, attribute),
                    None => (true, *word),
                };
                *match attribute {
                    "SUPERUSER" => &mut role.superuser,
                    "INHERIT" => &mut role.inherit,
                    "CREATEROLE" => &mut role.createrole,
                    "CREATEDB" => &mut role.createdb,
                    "LOGIN" => &mut role.login,
                    "REPLICATION" => &mut role.replication,
                    "BYPASSRLS" => &mut role.bypassrls,
                    _ => return None,
                } = is;
                rest
            }
        };
    }
}

fn membership(role: &str, member: &str, rest: &[&str]) -> Option<Membership> {
    let mut found = Membership { role: identifier(role)?, member: identifier(member)?, ..Membership::default() };
    let mut rest = rest;
    loop {
        rest = match rest {
            [] => return Some(found),
            ["WITH" | ",", rest @ ..] => rest,
            ["ADMIN", "OPTION" | "TRUE", rest @ ..] => {
                found.admin = true;
                rest
            }
            ["INHERIT", is @ ("TRUE" | "FALSE"), rest @ ..] => {
                found.inherit = Some(*is == "TRUE");
                rest
            }
            ["SET", is @ ("TRUE" | "FALSE"), rest @ ..] => {
                found.set = Some(*is == "TRUE");
                rest
            }
            ["GRANTED", "BY", grantor] => {
                found.grantor = Some(identifier(grantor)?);
                &[]
            }
            _ => return None,
        };
    }
}

fn parameter_grant(alter_system: bool, rest: &[&str]) -> Option<ParameterGrant> {
    let at = rest.iter().position(|token| *token == "TO")?;
    let parameter = parameter(rest.get(..at)?)?;
    let (grantee, option) = rest.get(at + 1..)?.split_first()?;
    let grantable = match option {
        [] => false,
        ["WITH", "GRANT", "OPTION"] => true,
        _ => return None,
    };
    let grantee = if *grantee == "PUBLIC" { None } else { Some(identifier(grantee)?) };
    Some(ParameterGrant { parameter, grantee, alter_system, grantable })
}

/// `name`, `"name"`, `extension.name` or `"extension"."name"`.
fn parameter(tokens: &[&str]) -> Option<String> {
    let parts = tokens.iter().enumerate().map(|(at, token)| match at % 2 {
        0 => identifier(token),
        _ => (*token == ".").then(|| ".".to_owned()),
    });
    let name: String = parts.collect::<Option<Vec<String>>>()?.concat();
    (tokens.len() % 2 == 1).then_some(name)
}

/// A name as the catalog holds it.
fn identifier(token: &str) -> Option<String> {
    if let Some(inner) = token.strip_prefix('"') {
        return Some(inner.strip_suffix('"')?.replace("\"\"", "\""));
    }
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'$') || byte >= 0x80;
    (!token.is_empty() && token.bytes().all(plain)).then(|| token.to_owned())
}

/// A value; `E'…'` as `quote_literal` writes it, where only quotes and backslashes are doubled.
fn literal(token: &str) -> Option<String> {
    let (escaped, quoted) = match token.strip_prefix(['E', 'e']) {
        Some(quoted) => (true, quoted),
        None => (false, token),
    };
    let text = quoted.strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'");
    if !escaped {
        return Some(text);
    }
    let mut value = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        value.push(letter);
        if letter == '\\' && letters.next() != Some('\\') {
            return None;
        }
    }
    Some(value)
}

/// `'a', 'b'`.
fn literals(tokens: &[&str]) -> Option<Vec<String>> {
    let parts = tokens.chunks(2).map(|chunk| match chunk {
        [value] | [value, ","] => literal(value),
        _ => None,
    });
    let values: Vec<String> = parts.collect::<Option<_>>()?;
    (tokens.len() % 2 == 1).then_some(values)
}

#[cfg(test)]
mod tests {
    use super::super::super::quote_literal;
    use super::*;
    use proptest::prelude::*;

    const SCRIPT: &str = "--\n-- PostgreSQL database cluster dump\n--\n\n\\restrict abc\n\nSET default_transaction_read_only = off;\n\n\
        SET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n\nCREATE ROLE app;\n\
        ALTER ROLE app WITH NOSUPERUSER INHERIT NOCREATEROLE CREATEDB LOGIN NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 5 VALID UNTIL '2030-01-01 00:00:00+00';\n\
        COMMENT ON ROLE app IS 'it''s \\ one';\nCREATE ROLE \"The \"\"Boss\";\nALTER ROLE \"The \"\"Boss\" WITH SUPERUSER;\n\n\
        -- User Config \"app\"\nALTER ROLE app SET search_path TO 'a', 'b, c';\nALTER ROLE app SET auto_explain.log_format TO 'json';\n\
        GRANT app TO \"The \"\"Boss\" WITH ADMIN OPTION, INHERIT FALSE GRANTED BY postgres;\nGRANT SET ON PARAMETER work_mem TO app;\n\\unrestrict abc\n";

    #[test]
    fn a_script_of_pg_dumpall_is_read() {
        let ParsedRoles { facts, left_out } = parse(SCRIPT);
        assert_eq!(left_out, Vec::<String>::new());
        assert_eq!(facts.names().collect::<Vec<_>>(), ["app", "The \"Boss"]);
        let app = &facts.roles[0];
        assert!(app.login && app.createdb && !app.superuser && app.connection_limit == 5, "{app:?}");
        assert_eq!(app.comment.as_deref(), Some("it's \\ one"));
        assert_eq!(app.valid_until.as_deref(), Some("2030-01-01 00:00:00+00"));
        let of = |name: &str, values: &[&str]| (name.to_owned(), values.iter().map(|one| (*one).to_owned()).collect());
        assert_eq!(app.settings, [of("search_path", &["a", "b, c"]), of("auto_explain.log_format", &["json"])]);
        let member = &facts.memberships[0];
        assert_eq!((member.admin, member.inherit, member.grantor.as_deref()), (true, Some(false), Some("postgres")));
        assert_eq!(facts.parameters[0].grantee.as_deref(), Some("app"));
    }

    /// A name with a line of its own that psql would run, and text that is no statement of roles.
    #[test]
    fn what_is_something_else_is_left_out_and_named() {
        let script = "CREATE ROLE \"x\n \\! id >/tmp/owned\nALTER ROLE postgres y\";\nDROP DATABASE shop;\nSELECT 1;\nCREATE ROLE a SUPERUSER;";
        let ParsedRoles { facts, left_out } = parse(script);
        assert_eq!(facts.names().collect::<Vec<_>>(), ["x\n \\! id >/tmp/owned\nALTER ROLE postgres y"]);
        assert_eq!(left_out, ["DROP DATABASE shop", "SELECT 1", "CREATE ROLE a SUPERUSER"]);
        let broken = parse("CREATE ROLE a;\nSELECT 1 \\! id >/tmp/owned\n;");
        assert!(broken.facts.roles.is_empty() && broken.left_out.len() == 1, "{broken:?}");
    }

    fn facts() -> impl Strategy<Value = RoleFacts> {
        let text = "[a-z\"'\\\\\n ;$-]{1,12}";
        let settings = prop::collection::vec(("[a-z_]{1,8}", prop::collection::vec(text, 1..3)), 0..2);
        let role = (text, any::<[bool; 7]>(), -1..9i32, prop::option::of(text), prop::option::of(text), settings)
            .prop_map(|(name, is, connection_limit, valid_until, comment, settings)| Role {
                name,
                superuser: is[0],
                inherit: is[1],
                createrole: is[2],
                createdb: is[3],
                login: is[4],
                replication: is[5],
                bypassrls: is[6],
                connection_limit,
                valid_until,
                comment,
                labels: Vec::new(),
                settings,
            });
        let member = (text, text, prop::option::of(text), any::<bool>(), any::<Option<bool>>(), any::<Option<bool>>())
            .prop_map(|(role, member, grantor, admin, inherit, set)| Membership {
                role,
                member,
                grantor,
                admin,
                inherit,
                set,
            });
        let parameter = ("[a-z.]{1,1}[a-z]{0,6}", prop::option::of(text), any::<bool>(), any::<bool>()).prop_map(
            |(parameter, grantee, alter_system, grantable)| ParameterGrant {
                parameter,
                grantee,
                alter_system,
                grantable,
            },
        );
        let unique = |roles: Vec<Role>| {
            let mut seen = std::collections::BTreeSet::new();
            roles.into_iter().filter(|role| seen.insert(role.name.clone())).collect()
        };
        (prop::collection::vec(role, 0..4), prop::collection::vec(member, 0..4), prop::collection::vec(parameter, 0..3))
            .prop_map(move |(roles, memberships, parameters)| RoleFacts {
                roles: unique(roles),
                memberships,
                parameters,
            })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(facts in facts()) {
            let ParsedRoles { facts: read, left_out } = parse(&facts.script(16));
            prop_assert_eq!(left_out, Vec::<String>::new());
            prop_assert_eq!(read, facts);
        }

        #[test]
        fn any_text_is_read_without_a_panic(script in "\\PC*") {
            parse(&script);
        }

        #[test]
        fn a_value_reads_back(value in "[\\PC'\\\\\n]*") {
            prop_assert_eq!(literal(quote_literal(&value).trim_start()), Some(value));
        }
    }
}
