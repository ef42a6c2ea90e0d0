//! What we say of a database in the catalog that all databases of a server share: its mark, and its fence.
//!
//! It survives a crash and is seen from every database there. Where the role may, it is a setting of the database:
//! superusers may, and from PostgreSQL 15 on roles with `GRANT SET ON PARAMETER`. For everybody else it is a line of the
//! database's comment, which is its owner's right; the operator's own lines stay below it.
//!
//! Any owner can write such a line, and a mark decides what is dropped and what takes the place of production. So it is
//! believed of databases that a superuser owns, and by an ordinary role also of those that belong to a role it is in:
//! whoever can write there could do the same by hand.

use super::{DatabaseError, Session, quote_identifier, quote_literal};

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// What the database is to us.
    Mark,
    /// Which run closed it.
    Fence,
}

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `ALTER DATABASE … SET`.
    Setting,
    /// A line of `COMMENT ON DATABASE`.
    Comment,
}

/// A database, and what is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) database: String,
    pub(super) oid: u32,
    /// The text, and where it stands; none where nothing is said.
    pub(super) text: Option<(String, Place)>,
}

impl Note {
    const ALL: [Self; 2] = [Self::Mark, Self::Fence];

    /// The setting that holds it.
    pub(super) fn setting(self) -> &'static str {
        match self {
            Self::Mark => "safe_migrate.mark",
            Self::Fence => "safe_migrate.fence",
        }
    }

    /// How the line of the comment begins.
    fn line(self) -> &'static str {
        match self {
            Self::Mark => "safe-migrate mark: ",
            Self::Fence => "safe-migrate fence: ",
        }
    }

    /// Where this session's role may put it.
    pub(super) async fn place(self, session: &Session) -> Result<Place, DatabaseError> {
        let may_set = match session.server_version_num() {
            150_000.. => format!("rolsuper OR pg_catalog.has_parameter_privilege('{}', 'SET')", self.setting()),
            _ => "rolsuper".to_owned(),
        };
        let sql = format!("SELECT {may_set} FROM pg_catalog.pg_roles WHERE rolname = current_user");
        let may_set: bool = session.query_one(&sql, &[]).await?.try_get(0)?;
        Ok(if may_set { Place::Setting } else { Place::Comment })
    }

    /// The statement that says it of a database.
    pub(super) fn set_sql(self, place: Place, database: &str, text: &str) -> String {
        match place {
            Place::Setting => {
                format!(
                    "ALTER DATABASE {} SET {} = {}",
                    quote_identifier(database),
                    self.setting(),
                    quote_literal(text)
                )
            }
            Place::Comment => self.rewrite_sql(database, Some(text)),
        }
    }

    /// The statement that takes it back, from where it stands.
    pub(super) fn reset_sql(self, place: Place, database: &str) -> String {
        match place {
            Place::Setting => format!("ALTER DATABASE {} RESET {}", quote_identifier(database), self.setting()),
            Place::Comment => self.rewrite_sql(database, None),
        }
    }

    fn rewrite_sql(self, database: &str, text: Option<&str>) -> String {
        let kept = format!("NOT pg_catalog.starts_with(x, {})", quote_literal(self.line()));
        let mut before = "kept".to_owned();
        if let Some(text) = text {
            before = format!("pg_catalog.array_prepend({}, kept)", quote_literal(&format!("{}{text}", self.line())));
        }
        comment_sql(database, &kept, &before)
    }

    /// What is said of every database of the server, or of the one of that name.
    pub(super) async fn find(self, session: &Session, database: Option<&str>) -> Result<Vec<Found>, DatabaseError> {
        // Whoever closed a database may always open it again.
        let believed = match self {
            Self::Fence => "true",
            Self::Mark => {
                "(SELECT they.rolsuper OR (NOT me.rolsuper AND pg_catalog.pg_has_role(they.oid, 'USAGE'))
                    FROM pg_catalog.pg_roles me, pg_catalog.pg_roles they
                   WHERE me.rolname = current_user AND they.oid = d.datdba)"
            }
        };
        // `setrole = 0`: the database's own settings, not those of a role in it. Other settings and lines are not even
        // looked at: each database writes its own in its own encoding.
        let sql = format!(
            "SELECT d.datname::text, d.oid, s.text, c.text FROM pg_catalog.pg_database d
               LEFT JOIN LATERAL (
                    SELECT pg_catalog.textsend(x) AS text FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) x
                     WHERE s.setdatabase = d.oid AND s.setrole = 0 AND pg_catalog.starts_with(x, $1) LIMIT 1) s ON true
               LEFT JOIN LATERAL (
                    SELECT pg_catalog.textsend(x) AS text FROM pg_catalog.pg_shdescription t,
                           pg_catalog.unnest(pg_catalog.string_to_array(t.description, pg_catalog.chr(10))) x
                     WHERE t.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass AND t.objoid = d.oid
                       AND pg_catalog.starts_with(x, $2) AND {believed} LIMIT 1) c ON true
              WHERE $3::text IS NULL OR d.datname = $3 ORDER BY 1"
        );
        let (setting, line) = (format!("{}=", self.setting()), self.line());
        let rows = session.query(&sql, &[&setting, &line, &database]).await?;
        let mut found = Vec::new();
        for row in rows {
            let text = |column: usize, prefix: &str, place: Place| -> Result<_, DatabaseError> {
                let bytes: Option<Vec<u8>> = row.try_get(column)?;
                let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                Ok(text.and_then(|text| Some((text.strip_prefix(prefix)?.to_owned(), place))))
            };
            let text = match text(2, &setting, Place::Setting)? {
                Some(text) => Some(text),
                None => text(3, line, Place::Comment)?,
            };
            found.push(Found { database: row.try_get(0)?, oid: row.try_get(1)?, text });
        }
        Ok(found)
    }
}

/// The statement that gives a database this comment, below what we say of it.
pub(super) fn comment_below_sql(database: &str, comment: &str) -> String {
    let ours: Vec<String> =
        Note::ALL.iter().map(|note| format!("pg_catalog.starts_with(x, {})", quote_literal(note.line()))).collect();
    let lines = format!("pg_catalog.array_append(kept, {})", quote_literal(comment));
    comment_sql(database, &format!("({})", ours.join(" OR ")), &lines)
}

/// A comment without what we say in it; none when there is nothing else.
pub(super) fn without_notes(comment: &str) -> Option<String> {
    let is_ours = |line: &&str| Note::ALL.iter().any(|note| line.starts_with(note.line()));
    let lines: Vec<&str> = comment.split('\n').filter(|line| !is_ours(line)).collect();
    let rest = lines.join("\n");
    (!rest.is_empty()).then_some(rest)
}

/// `DO`: the server itself puts the lines together, since a comment may be in another encoding than the session's.
fn comment_sql(database: &str, kept: &str, lines: &str) -> String {
    let (name, quoted) = (quote_literal(database), quote_literal(&quote_identifier(database)));
    let body = format!(
        "DECLARE kept pg_catalog.text[];
         BEGIN
             SELECT pg_catalog.array_agg(x ORDER BY n) INTO kept
               FROM pg_catalog.pg_database d
               JOIN pg_catalog.pg_shdescription t
                 ON t.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass AND t.objoid = d.oid,
                    pg_catalog.unnest(pg_catalog.string_to_array(t.description, pg_catalog.chr(10))) WITH ORDINALITY AS l (x, n)
              WHERE d.datname = {name} AND {kept};
             EXECUTE 'COMMENT ON DATABASE ' || {quoted} || ' IS '
                  || pg_catalog.quote_nullable(nullif(pg_catalog.array_to_string({lines}, pg_catalog.chr(10)), ''));
         END"
    );
    format!("DO {}", quote_literal(&body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::private_cluster::tests::start_cluster;

    #[test]
    fn a_comment_is_what_is_left_without_our_lines() {
        assert_eq!(without_notes("safe-migrate mark: a"), None);
        assert_eq!(without_notes("safe-migrate mark: a\nours\n\nalone"), Some("ours\n\nalone".to_owned()));
        assert_eq!(without_notes("a safe-migrate mark: a"), Some("a safe-migrate mark: a".to_owned()));
    }

    /// Of a comment in another encoding, with everything that has a meaning to somebody: not a byte is lost.
    #[tokio::test]
    async fn what_is_said_in_a_comment_leaves_the_operators_own_alone() {
        let cluster = start_cluster().await;
        let session = cluster.spec("postgres").connect("test").await.unwrap();
        let name = "it's \"a\" $do$ \\ café";
        let create = "TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'";
        session.batch_execute(&format!("CREATE DATABASE latin {create}")).await.unwrap();
        let inside = cluster.spec("latin").connect("test").await.unwrap();
        inside
            .batch_execute("COMMENT ON DATABASE latin IS E'crème brûlée\\n\\n''it''s'' \\\\ \"a\" %I'")
            .await
            .unwrap();
        inside.close().await;
        session.batch_execute(&format!("ALTER DATABASE latin RENAME TO {}", quote_identifier(name))).await.unwrap();
        let comment = async || -> Vec<u8> {
            let sql = "SELECT pg_catalog.textsend(description) FROM pg_catalog.pg_shdescription t
                         JOIN pg_catalog.pg_database d ON d.oid = t.objoid WHERE d.datname = $1";
            session.query_opt(sql, &[&name]).await.unwrap().map(|row| row.get(0)).unwrap_or_default()
        };
        let before = comment().await;
        assert!(before.contains(&0xe8), "in its own encoding: {before:?}");
        for (note, text) in [(Note::Mark, "shadow:1"), (Note::Fence, "run:2"), (Note::Mark, "shadow:3")] {
            session.batch_execute(&note.set_sql(Place::Comment, name, text)).await.unwrap();
            let found = note.find(&session, Some(name)).await.unwrap().remove(0);
            assert_eq!(found.text, Some((text.to_owned(), Place::Comment)));
        }
        assert!(comment().await.ends_with(&before));
        for note in Note::ALL {
            session.batch_execute(&note.reset_sql(Place::Comment, name)).await.unwrap();
        }
        assert_eq!(comment().await, before);
        // Without one of the operator's, nothing stays.
        session.batch_execute(&format!("COMMENT ON DATABASE {} IS NULL", quote_identifier(name))).await.unwrap();
        session.batch_execute(&Note::Mark.set_sql(Place::Comment, name, "shadow:1")).await.unwrap();
        session.batch_execute(&comment_below_sql(name, "new\nlines")).await.unwrap();
        assert_eq!(comment().await, b"safe-migrate mark: shadow:1\nnew\nlines");
        session.batch_execute(&comment_below_sql(name, "others")).await.unwrap();
        assert_eq!(comment().await, b"safe-migrate mark: shadow:1\nothers");
        session.batch_execute(&format!("COMMENT ON DATABASE {} IS NULL", quote_identifier(name))).await.unwrap();
        session.batch_execute(&Note::Mark.reset_sql(Place::Comment, name)).await.unwrap();
        assert_eq!(comment().await, b"");
        session.close().await;
        cluster.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_comment_of_others_is_not_believed() {
        let cluster = start_cluster().await;
        let session = cluster.spec("postgres").connect("test").await.unwrap();
        session.batch_execute("CREATE ROLE plain LOGIN; CREATE ROLE other LOGIN; CREATE ROLE team").await.unwrap();
        session.batch_execute("GRANT team TO plain").await.unwrap();
        for owner in ["plain", "other", "team"] {
            session.batch_execute(&format!("CREATE DATABASE of_{owner} OWNER {owner}")).await.unwrap();
            session.batch_execute(&Note::Mark.set_sql(Place::Comment, &format!("of_{owner}"), "text")).await.unwrap();
        }
        session.batch_execute("CREATE DATABASE of_boss").await.unwrap();
        session.batch_execute(&Note::Mark.set_sql(Place::Comment, "of_boss", "text")).await.unwrap();
        let plain = cluster.spec("postgres").with_user("plain").connect("test").await.unwrap();
        assert_eq!(Note::Mark.place(&plain).await.unwrap(), Place::Comment);
        assert_eq!(Note::Mark.place(&session).await.unwrap(), Place::Setting);
        let believed = async |session: &Session, note: Note| -> Vec<String> {
            let found = note.find(session, None).await.unwrap();
            found.into_iter().filter(|one| one.text.is_some()).map(|one| one.database).collect()
        };
        assert_eq!(believed(&session, Note::Mark).await, ["of_boss"]);
        assert_eq!(believed(&plain, Note::Mark).await, ["of_boss", "of_plain", "of_team"]);
        plain.close().await;
        session.close().await;
        cluster.stop().await.unwrap();
    }
}
