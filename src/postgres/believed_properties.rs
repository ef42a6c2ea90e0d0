//! Which properties of a database that only a snapshot names are set: who can write to a store is not the operator.

use std::collections::BTreeSet;

use super::database_properties::{DatabaseProperties, grants, setting_sql, setting_values};
use super::{DatabaseError, Session, quote_identifier};

/// In the place of the name in a statement.
const NO_NAME: &str = "\u{0}";

type Settings = Vec<(Option<String>, String)>;

/// What a live database has, which is the operator's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorsOwn {
    owner: String,
    acl: Option<String>,
    grants: Vec<String>,
    settings: Settings,
}

/// The properties that a restored database gets, and what was left out of the recorded ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BelievedProperties {
    /// What is set.
    pub properties: DatabaseProperties,
    /// The statements that would set the rest.
    pub left_out: Vec<String>,
    /// What is set on the word of the snapshot alone, for the operator to read before.
    pub on_its_word: Vec<String>,
}

impl OperatorsOwn {
    /// Reads them of the database of that name, when there is one.
    pub async fn read(session: &Session, name: &str) -> Result<Option<Self>, DatabaseError> {
        let rows = session
            .query(
                "SELECT pg_catalog.textsend(pg_catalog.pg_get_userbyid(datdba)::text), pg_catalog.textsend(datacl::text)
                   FROM pg_catalog.pg_database WHERE datname = $1::name",
                &[&name],
            )
            .await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let (owner, acl) = (text(row.get(0)), row.get::<_, Option<Vec<u8>>>(1).map(text));
        let grants = grants_as_said(session, acl.as_deref()).await;
        Ok(Some(Self { owner, acl, grants, settings: settings_of(session, name).await? }))
    }
}

/// The statements that make these privileges again, of a database that has no name yet; as the catalog says it where the
/// server does not know all of the roles.
async fn grants_as_said(session: &Session, acl: Option<&str>) -> Vec<String> {
    let Some(acl) = acl else { return Vec::new() };
    grants(session, NO_NAME, acl).await.unwrap_or_else(|_| vec![format!("privileges {acl}")])
}

/// The settings of a database by its name: `ALTER DATABASE … SET` (role none) and `ALTER ROLE … IN DATABASE … SET`.
async fn settings_of(session: &Session, name: &str) -> Result<Settings, DatabaseError> {
    let rows = session
        .query(
            "SELECT pg_catalog.textsend(r.rolname::text), pg_catalog.textsend(setting) FROM pg_catalog.pg_db_role_setting s
               JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase AND d.datname = $1::name
              CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS one (setting)
               LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole",
            &[&name],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get::<_, Option<Vec<u8>>>(0).map(text), text(row.get(1)))).collect())
}

/// The catalogs that all databases share hold each database's texts in that one's encoding.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

impl DatabaseProperties {
    /// Those that are believed. `live`: the database that this one replaces or stands beside, and others of the operator.
    /// `is_ours`: this machine wrote the manifest, and nobody changed it since.
    ///
    /// Settings that load code into each session or turn a protection off are believed when a live database has them. Owner
    /// and privileges are those of the live database; where there is none, the recorded ones are all that there is.
    pub async fn believed(
        &self,
        session: &Session,
        name: &str,
        live: &[OperatorsOwn],
        is_ours: bool,
    ) -> BelievedProperties {
        let grants = grants_as_said(session, self.acl.as_deref()).await;
        self.believed_with(&grants, name, live, is_ours)
    }

    fn believed_with(&self, grants: &[String], name: &str, live: &[OperatorsOwn], is_ours: bool) -> BelievedProperties {
        let database = quote_identifier(name);
        let acts = |setting: &(Option<String>, String)| {
            acts_on_each_session(setting.1.split('=').next().unwrap_or_default())
                && !live.iter().any(|one| one.settings.contains(setting))
        };
        let described =
            |setting: &(Option<String>, String)| setting_sql(&database, setting).unwrap_or_else(|| setting.1.clone());
        let (acting, settings): (Settings, Settings) = self.settings.iter().cloned().partition(acts);
        if is_ours {
            let on_its_word = acting.iter().map(described).collect();
            return BelievedProperties { properties: self.clone(), left_out: Vec::new(), on_its_word };
        }
        let mut believed = BelievedProperties {
            properties: Self { settings, ..self.clone() },
            left_out: acting.iter().map(described).collect(),
            on_its_word: Vec::new(),
        };
        let owner = format!("ALTER DATABASE {database} OWNER TO {}", quote_identifier(&self.owner));
        let named = |grant: &String| grant.replace(NO_NAME, &database);
        match live.first() {
            None => believed.on_its_word = std::iter::once(owner).chain(grants.iter().map(named)).collect(),
            Some(own) if own.owner == self.owner && own.acl == self.acl => {}
            Some(own) => {
                believed.properties.owner.clone_from(&own.owner);
                believed.properties.acl.clone_from(&own.acl);
                let other_owner = (own.owner != self.owner).then_some(owner);
                let more = grants.iter().filter(|grant| !own.grants.contains(grant)).map(named);
                believed.left_out.extend(other_owner.into_iter().chain(more));
            }
        }
        believed
    }

    /// How a database differs from this, in what [`copy_properties`](super::database::copy_properties) sets.
    pub async fn differences(&self, session: &Session, restored: &Self) -> Result<Vec<String>, DatabaseError> {
        let mut found = Vec::new();
        if let Some(acl) = &self.acl {
            let has = grants(session, NO_NAME, restored.acl.as_deref().unwrap_or("{}")).await?;
            let wants = grants(session, NO_NAME, acl).await?;
            if has.iter().collect::<BTreeSet<_>>() != wants.iter().collect() {
                let has = restored.acl.as_deref().unwrap_or("none");
                found.push(format!("the privileges of the database are {has}, and not {acl}"));
            }
        }
        if restored.owner != self.owner {
            found.push(format!("the database belongs to {}, and not to {}", restored.owner, self.owner));
        }
        let comparable = |settings: &Settings| -> BTreeSet<(Option<String>, String, Vec<String>)> {
            let parts = settings.iter().filter_map(|(role, setting)| {
                let (name, value) = setting.split_once('=')?;
                Some((role.clone(), name.to_ascii_lowercase(), setting_values(name, value)))
            });
            parts.collect()
        };
        let (wanted, set) = (comparable(&self.settings), comparable(&restored.settings));
        for (role, name, value) in wanted.symmetric_difference(&set) {
            let of = role.as_ref().map(|role| format!(" of role {role}")).unwrap_or_default();
            let state = if wanted.contains(&(role.clone(), name.clone(), value.clone())) { "is not" } else { "is" };
            found.push(format!("setting {name}{of} {state} {}", value.join(", ")));
        }
        Ok(found)
    }
}

/// Parameters that make each new session load a library or run a text, or that turn off what protects the data.
fn acts_on_each_session(parameter: &str) -> bool {
    const ACTING: &[&str] = &[
        "allow_system_table_mods",
        "dynamic_library_path",
        "event_triggers",
        "extension_control_path",
        "ignore_checksum_failure",
        "ignore_system_indexes",
        "jit_provider",
        "local_preload_libraries",
        "role",
        "session_authorization",
        "session_preload_libraries",
        "session_replication_role",
        "shared_preload_libraries",
        "zero_damaged_pages",
    ];
    let name = parameter.to_ascii_lowercase();
    // plperl.on_plperl_init, pltcl.start_proc, plv8.start_proc: texts of languages.
    let of_language = name.split_once('.').is_some_and(|(language, what)| {
        language.starts_with("pl") && (what.contains("init") || what.contains("start_proc"))
    });
    of_language || ACTING.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::private_cluster::tests::start_cluster;
    use super::*;

    #[tokio::test]
    async fn what_a_database_has_else_than_it_was_given_is_named() {
        let cluster = start_cluster().await;
        let session = cluster.spec("postgres").connect("test").await.unwrap();
        let given = "CREATE ROLE cook; REVOKE TEMP ON DATABASE postgres FROM PUBLIC;
                     ALTER DATABASE postgres SET search_path = a, \"b c\"";
        session.batch_execute(given).await.unwrap();
        let wanted = DatabaseProperties::read(&session).await.unwrap();
        assert_eq!(wanted.differences(&session, &wanted).await.unwrap(), Vec::<String>::new());
        let other = "ALTER DATABASE postgres OWNER TO cook; GRANT CREATE ON DATABASE postgres TO PUBLIC;
                     ALTER ROLE cook IN DATABASE postgres SET work_mem = '8MB'; ALTER DATABASE postgres SET search_path = a";
        session.batch_execute(other).await.unwrap();
        let found = wanted.differences(&session, &DatabaseProperties::read(&session).await.unwrap()).await.unwrap();
        assert!(found[0].starts_with("the privileges of the database are "), "{found:?}");
        assert_eq!(
            found[1],
            "the database belongs to cook, and not to test_admin".replace("test_admin", &wanted.owner)
        );
        let settings =
            ["setting search_path is a", "setting search_path is not a, b c", "setting work_mem of role cook is 8MB"];
        assert_eq!(found[2..], settings);
        session.close().await;
        cluster.stop().await.unwrap();
    }
}
