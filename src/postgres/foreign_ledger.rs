//! The tables in which other tools keep what is applied.

use tokio_postgres::Row;

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
    /// `goose_db_version (id, version_id, is_applied)`: the last row of a version counts.
    Goose,
    /// `_prisma_migrations (migration_name, checksum, finished_at, rolled_back_at)`.
    Prisma,
    /// `__diesel_schema_migrations (version)`.
    Diesel,
    /// `schema_migrations (version)`.
    Rails,
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
    /// The checksum of its text, in hex: SHA-384 (sqlx), SHA-256 (Prisma).
    pub digest: Option<String>,
}

impl ForeignLedger {
    /// The name of the table.
    pub fn table(self) -> &'static str {
        match self {
            Self::Dbmate | Self::GolangMigrate | Self::Rails => "schema_migrations",
            Self::Sqlx => "_sqlx_migrations",
            Self::Flyway => "flyway_schema_history",
            Self::Goose => "goose_db_version",
            Self::Prisma => "_prisma_migrations",
            Self::Diesel => "__diesel_schema_migrations",
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
            Self::Dbmate | Self::Diesel | Self::Rails => "version::text, NULL, NULL, NULL, false",
            Self::Sqlx => {
                "version::text, NULL, CASE WHEN NOT success THEN 'it failed' END, encode(checksum, 'hex'), false"
            }
            Self::GolangMigrate => "version::text, NULL, CASE WHEN dirty THEN 'it is marked dirty' END, NULL, true",
            Self::Flyway => {
                "coalesce(version, regexp_replace(script, '^R__(.*)\\.sql$', '\\1'))::text, NULL,
                 CASE WHEN NOT success THEN 'it failed' END, NULL, type = 'BASELINE'"
            }
            Self::Goose => "version_id::text, NULL, NULL, NULL, false",
            Self::Prisma => {
                "migration_name::text, NULL, CASE WHEN finished_at IS NULL THEN 'it failed' END, checksum::text, false"
            }
            Self::Alembic => "version_num::text, NULL, NULL, NULL, true",
            Self::Django => "name::text, app::text, NULL, NULL, false",
        };
        let table = qualified(schema, name);
        let rows = match self {
            // The row that makes the schema itself, and migrations that were undone.
            Self::Flyway => format!("{table} WHERE type NOT IN ('SCHEMA', 'DELETE') AND type NOT LIKE 'UNDO%'"),
            // Older releases add a row for what is undone; version 0 is the table itself.
            Self::Goose => format!(
                "(SELECT DISTINCT ON (version_id) version_id, is_applied FROM {table} ORDER BY version_id, id DESC) last
                  WHERE is_applied AND version_id <> 0"
            ),
            Self::Prisma => format!("{table} WHERE rolled_back_at IS NULL"),
            _ => table,
        };
        let sql = format!("SELECT {columns} FROM {rows}");
        let rows = session.query(&sql, &[]).await?;
        rows.iter().map(of_row).collect()
    }
}

fn of_row(row: &Row) -> Result<ForeignRow, DatabaseError> {
    let key: Option<String> = row.try_get(0)?;
    let nameless = key.is_none().then(|| "it names no migration".to_owned());
    let broken: Option<String> = row.try_get(2)?;
    Ok(ForeignRow {
        key: key.unwrap_or_else(|| "a row".to_owned()),
        app: row.try_get(1)?,
        broken: nameless.or(broken),
        digest: row.try_get(3)?,
        and_all_before: row.try_get::<_, Option<bool>>(4)?.unwrap_or_default(),
    })
}
