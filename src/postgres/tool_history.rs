//! The tables in which migration tools keep what is applied.

use std::collections::BTreeMap;

use super::{DatabaseError, Session, prepare_copy_session, qualified};

/// Of Django, Alembic, Rails and dbmate, Knex, Sequelize, Prisma, Flyway, sqlx, goose, Diesel.
pub const TOOL_HISTORIES: [&str; 11] = [
    "django_migrations",
    "alembic_version",
    "schema_migrations",
    "knex_migrations",
    "knex_migrations_lock",
    "SequelizeMeta",
    "_prisma_migrations",
    "flyway_schema_history",
    "_sqlx_migrations",
    "goose_db_version",
    "__diesel_schema_migrations",
];

/// A hash of the rows of each that this role may read, by its name. The session is one for this only.
pub async fn tool_histories(session: &Session) -> Result<BTreeMap<String, String>, DatabaseError> {
    prepare_copy_session(session, None).await?;
    session.batch_execute("SET row_security = on").await?;
    let names: Vec<&str> = TOOL_HISTORIES.to_vec();
    let tables = session
        .query(
            "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relkind IN ('r', 'p') AND c.relname = ANY ($1)
                AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')",
            &[&names],
        )
        .await?;
    let mut found = BTreeMap::new();
    for table in tables {
        let (schema, name): (String, String) = (table.try_get(0)?, table.try_get(1)?);
        let sql = format!(
            "SELECT pg_catalog.encode(pg_catalog.sha256(pg_catalog.textsend(
                        coalesce(pg_catalog.string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\"), ''))), 'hex')
               FROM {} t",
            qualified(&schema, &name)
        );
        found.insert(format!("{schema}.{name}"), session.query_one(&sql, &[]).await?.try_get(0)?);
    }
    Ok(found)
}
