//! The roles of a server as facts: what each is and may do, who is a member of whom, and what is set for whom.
//!
//! They are read from the catalogs, kept in a snapshot, and made again by statements that are built here, name by name
//! and value by value. No text of a server or of a store is ever run.

use super::super::{quote_identifier, quote_literal};

/// The roles of a server. The predefined ones are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleFacts {
    /// The roles.
    pub roles: Vec<Role>,
    /// Who is a member of whom, in an order in which every grantor has what it grants.
    pub memberships: Vec<Membership>,
    /// Who may set which parameter (15 and later).
    pub parameters: Vec<ParameterGrant>,
}

/// One role, without its password.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// Its name as the catalog holds it.
    pub name: String,
    /// `SUPERUSER`.
    pub superuser: bool,
    /// `INHERIT`.
    pub inherit: bool,
    /// `CREATEROLE`.
    pub createrole: bool,
    /// `CREATEDB`.
    pub createdb: bool,
    /// `LOGIN`.
    pub login: bool,
    /// `REPLICATION`.
    pub replication: bool,
    /// `BYPASSRLS`.
    pub bypassrls: bool,
    /// `CONNECTION LIMIT`; -1 for none.
    pub connection_limit: i32,
    /// `VALID UNTIL`, as the server prints it in UTC.
    pub valid_until: Option<String>,
    /// `COMMENT ON ROLE`.
    pub comment: Option<String>,
    /// `SECURITY LABEL`: provider and label.
    pub labels: Vec<(String, String)>,
    /// `ALTER ROLE … SET`: the parameter, and its value; of one that is a list, the elements.
    pub settings: Vec<(String, Vec<String>)>,
}

/// One role is a member of another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// The role that was granted.
    pub role: String,
    /// To whom.
    pub member: String,
    /// By whom.
    pub grantor: Option<String>,
    /// `WITH ADMIN OPTION`.
    pub admin: bool,
    /// `WITH INHERIT` (16 and later).
    pub inherit: Option<bool>,
    /// `WITH SET` (16 and later).
    pub set: Option<bool>,
}

/// A right on a parameter of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParameterGrant {
    /// The parameter.
    pub parameter: String,
    /// To whom; none is `PUBLIC`.
    pub grantee: Option<String>,
    /// `ALTER SYSTEM`, or else `SET`.
    pub alter_system: bool,
    /// `WITH GRANT OPTION`.
    pub grantable: bool,
}

impl RoleFacts {
    /// Names of the roles.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(|role| role.name.as_str())
    }

    /// Names of the superusers.
    pub fn superusers(&self) -> impl Iterator<Item = String> {
        self.roles.iter().filter(|role| role.superuser).map(|role| role.name.clone())
    }

    /// Those that are not among these names, without what concerns others alone. Memberships are kept: granting one twice
    /// changes nothing.
    pub fn without(&self, existing: &[String]) -> Self {
        let roles = self.roles.iter().filter(|role| !existing.contains(&role.name)).cloned().collect();
        Self { roles, ..self.clone() }
    }

    /// Names of the roles that are not among these.
    pub fn missing(&self, existing: &[String]) -> Vec<String> {
        self.names().filter(|name| !existing.iter().any(|one| one == name)).map(str::to_owned).collect()
    }

    /// The same with the memberships of these roles alone, and without rights on parameters.
    pub fn of_new_members(mut self) -> Self {
        let new: Vec<String> = self.names().map(str::to_owned).collect();
        self.memberships.retain(|membership| new.contains(&membership.member));
        self.parameters.clear();
        self
    }

    /// The same without grantors: before 16 every superuser could grant, since then a grantor needs the admin option.
    pub fn without_grantors(mut self) -> Self {
        for membership in &mut self.memberships {
            membership.grantor = None;
        }
        self
    }

    /// The same as a script for `psql`. What is in quotes there stays in quotes: psql, too,
    /// reads names and values over the ends of lines.
    pub fn script(&self, major: u32) -> String {
        let head = ["SET client_encoding = 'UTF8'", "SET standard_conforming_strings = on"].map(str::to_owned);
        head.into_iter().chain(self.statements(major)).map(|statement| format!("{statement};\n")).collect()
    }

    /// The statements that make them on a server of this major version, in their order.
    pub fn statements(&self, major: u32) -> Vec<String> {
        let mut sql: Vec<String> =
            self.roles.iter().map(|role| format!("CREATE ROLE {}", quote_identifier(&role.name))).collect();
        sql.extend(self.roles.iter().flat_map(Role::statements));
        sql.extend(self.memberships.iter().map(|membership| membership.statement(major)));
        if major >= 15 {
            sql.extend(self.parameters.iter().map(ParameterGrant::statement));
        }
        sql
    }
}

impl Role {
    fn statements(&self) -> Vec<String> {
        let name = quote_identifier(&self.name);
        let word = |is: bool, word: &str| if is { format!(" {word}") } else { format!(" NO{word}") };
        let mut sql = vec![format!(
            "ALTER ROLE {name} WITH{}{}{}{}{}{}{} CONNECTION LIMIT {}{}",
            word(self.superuser, "SUPERUSER"),
            word(self.inherit, "INHERIT"),
            word(self.createrole, "CREATEROLE"),
            word(self.createdb, "CREATEDB"),
            word(self.login, "LOGIN"),
            word(self.replication, "REPLICATION"),
            word(self.bypassrls, "BYPASSRLS"),
            self.connection_limit,
            self.valid_until.as_ref().map_or(String::new(), |until| format!(" VALID UNTIL {}", quote_literal(until))),
        )];
        let of = |value: &String| quote_literal(value).trim_start().to_owned();
        sql.extend(self.comment.iter().map(|text| format!("COMMENT ON ROLE {name} IS {}", of(text))));
        sql.extend(self.labels.iter().map(|(provider, label)| {
            format!("SECURITY LABEL FOR {} ON ROLE {name} IS {}", quote_identifier(provider), of(label))
        }));
        sql.extend(self.settings.iter().map(|(setting, values)| {
            let values: Vec<String> = values.iter().map(of).collect();
            format!("ALTER ROLE {name} SET {} TO {}", quote_identifier(setting), values.join(", "))
        }));
        sql
    }
}

impl Membership {
    fn statement(&self, major: u32) -> String {
        let mut sql = format!("GRANT {} TO {}", quote_identifier(&self.role), quote_identifier(&self.member));
        let mut options = Vec::new();
        if major >= 16 {
            options.extend(self.admin.then(|| "ADMIN TRUE".to_owned()));
            options.extend(self.inherit.map(|is| format!("INHERIT {}", if is { "TRUE" } else { "FALSE" })));
            options.extend(self.set.map(|is| format!("SET {}", if is { "TRUE" } else { "FALSE" })));
        } else {
            options.extend(self.admin.then(|| "ADMIN OPTION".to_owned()));
        }
        if !options.is_empty() {
            sql.push_str(&format!(" WITH {}", options.join(", ")));
        }
        if let Some(grantor) = &self.grantor {
            sql.push_str(&format!(" GRANTED BY {}", quote_identifier(grantor)));
        }
        sql
    }
}

impl ParameterGrant {
    fn statement(&self) -> String {
        let right = if self.alter_system { "ALTER SYSTEM" } else { "SET" };
        let grantee = self.grantee.as_deref().map_or("PUBLIC".to_owned(), quote_identifier);
        let option = if self.grantable { " WITH GRANT OPTION" } else { "" };
        format!("GRANT {right} ON PARAMETER {} TO {grantee}{option}", quote_identifier(&self.parameter))
    }
}
