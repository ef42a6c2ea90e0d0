//! The tables in which other tools keep what is applied.

use super::{DatabaseError, Session, qualified};

/// A tool, by its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignLedger {
    /// `schema_migrations (version)`.
    Dbmate,
    /// `_sqlx_migrations (version, success, checksum)`.
    Sqlx,
    /// `schema_migrations (version, dirty)`: one row, the last version.
    GolangMigrate,
    /// `flyway_schema_history`.
    Flyway,
    /// `alembic_version (version_num)`: the heads.
    Alembic,
    /// `django_migrations (app, name)`.
    Django,
}

/// What such a table says of one migration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeignRow {
    /// The app, where there is one.
    pub app: Option<String>,
    /// What the tool calls it.
    pub key: String,
    /// Whether it stands for all before it too.
    pub and_all_before: bool,
    /// Why the table itself says that it is not right.
    pub broken: Option<String>,
    /// SHA-384 of its text (sqlx).
    pub sha384: Option<String>,
}

impl ForeignLedger {
    /// The name of the table.
    pub fn table(self) -> &'static str {
        match self {
            Self::Dbmate | Self::GolangMigrate => "schema_migrations",
            Self::Sqlx => "_sqlx_migrations",
            Self::Flyway => "flyway_schema_history",
            Self::Alembic => "alembic_version",
            Self::Django => "django_migrations",
        }
    }

    /// Where the table is: as `schema` and `name`; none when there is none in any schema.
    pub async fn find(self, session: &Session, named: Option<&str>) -> Result<Option<(String, String)>, DatabaseError> {
        let (schema, name) = match named.and_then(|named| named.split_once('.')) {
            Some((schema, name)) => (Some(schema), name),
            None => (None, named.unwrap_or(self.table())),
        };
        let row = session
            .query_opt(
                "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c
                   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                  WHERE c.relkind = 'r' AND c.relname = $1 AND ($2::text IS NULL OR n.nspname = $2)
                  ORDER BY pg_catalog.pg_table_is_visible(c.oid) DESC, 1 LIMIT 1",
                &[&name, &schema],
            )
            .await?;
        Ok(row.map(|row| (row.get(0), row.get(1))))
    }

    /// What the table says is applied.
    pub async fn read(
        self,
        session: &Session,
        (schema, name): &(String, String),
    ) -> Result<Vec<ForeignRow>, DatabaseError> {
        let columns = match self {
            Self::Dbmate => "version::text, NULL, NULL, NULL, false",
            Self::Sqlx => {
                "version::text, NULL, CASE WHEN NOT success THEN 'it failed' END, encode(checksum, 'hex'), false"
            }
            Self::GolangMigrate => "version::text, NULL, CASE WHEN dirty THEN 'it is marked dirty' END, NULL, true",
            Self::Flyway => {
                "coalesce(version, regexp_replace(script, '^R__(.*)\\.sql$', '\\1'))::text, NULL,
                 CASE WHEN NOT success THEN 'it failed' END, NULL, type = 'BASELINE'"
            }
            Self::Alembic => "version_num::text, NULL, NULL, NULL, true",
            Self::Django => "name::text, app::text, NULL, NULL, false",
        };
        let filter = match self {
            // The row that makes the schema itself, and migrations that were undone.
            Self::Flyway => " WHERE type NOT IN ('SCHEMA', 'DELETE') AND type NOT LIKE 'UNDO%'",
            _ => "",
        };
        let sql = format!("SELECT {columns} FROM {}{filter}", qualified(schema, name));
        let rows = session.query(&sql, &[]).await?;
        Ok(rows
            .iter()
            .map(|row| ForeignRow {
                key: row.get(0),
                app: row.get(1),
                broken: row.get(2),
                sha384: row.get(3),
                and_all_before: row.get(4),
            })
            .collect())
    }
}
