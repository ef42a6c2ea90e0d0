//! What is known of Django: what a command of its migrates, and what is applied.

use super::super::{Error, Interrupt};
use super::program::{Surroundings, WrappedCommand};

/// A command that runs a Django project's `manage.py`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Django {
    /// `python manage.py`, as typed.
    manage: Vec<String>,
    /// `--database`, or `default`.
    alias: String,
}

/// A line of `showmigrations --plan`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// App.
    pub app: String,
    /// Name.
    pub name: String,
    /// Whether Django's table says that it is applied.
    pub applied: bool,
}

impl std::fmt::Display for Listed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}", self.app, self.name)
    }
}

impl Django {
    /// Recognised by a word that is a `manage.py`.
    pub fn of(words: &[String]) -> Option<Self> {
        let at = words.iter().position(|word| word.rsplit('/').next() == Some("manage.py"))?;
        let mut alias = "default".to_owned();
        let mut rest = words[at + 1..].iter();
        while let Some(word) = rest.next() {
            match word.strip_prefix("--database") {
                Some("") => rest.next().cloned().into_iter().for_each(|next| alias = next),
                Some(value) => value.strip_prefix('=').into_iter().for_each(|next| next.clone_into(&mut alias)),
                None => {}
            }
        }
        Some(Self { manage: words[..=at].to_vec(), alias })
    }

    /// What `words` migrate, app and target; none when they do something else or more, such as `--fake`.
    pub(super) fn migrates<'a>(&self, words: &'a [String]) -> Option<Vec<&'a str>> {
        // Not `--settings`: the question is asked without it, and other settings have other migrations.
        const WITH_VALUE: [&str; 3] = ["--database", "-v", "--verbosity"];
        const ALONE: [&str; 6] =
            ["--noinput", "--no-input", "--no-color", "--traceback", "--skip-checks", "--force-color"];
        let mut rest = words.get(self.manage.len()..)?.iter();
        if rest.next()? != "migrate" {
            return None;
        }
        let mut targets = Vec::new();
        while let Some(word) = rest.next() {
            match word.split_once('=').map_or(word.as_str(), |(name, _)| name) {
                name if WITH_VALUE.contains(&name) => {
                    if !word.contains('=') {
                        rest.next();
                    }
                }
                name if ALONE.contains(&name) => {}
                name if !name.starts_with('-') && targets.len() < 2 => targets.push(word.as_str()),
                _ => return None,
            }
        }
        Some(targets)
    }

    /// The alias that the command goes to.
    pub fn alias(&self) -> &str {
        &self.alias
    }

    /// `manage.py` with these arguments.
    pub fn words(&self, rest: &[&str]) -> Vec<String> {
        self.manage.iter().cloned().chain(rest.iter().map(|word| (*word).to_owned())).collect()
    }

    /// `migrate APP TARGET` for each of these, in one process: a project with many apps starts slowly. Before each it says
    /// which, behind [`STEP`].
    pub(super) fn migrate_to(&self, targets: &[(String, String)]) -> Vec<String> {
        // JSON's strings and lists are Python's too.
        let (targets, alias) = (serde_json::json!(targets), serde_json::json!(self.alias));
        self.words(&[
            "shell",
            "-c",
            &BACK.replace("TARGETS", &targets.to_string()).replace("ALIAS", &alias.to_string()),
        ])
    }

    /// `showmigrations --plan`. None: it could not be read.
    pub async fn listed(
        &self,
        command: &WrappedCommand,
        around: Surroundings<'_>,
        interrupt: &Interrupt,
    ) -> Result<Option<Vec<Listed>>, Error> {
        let words = self.words(&["showmigrations", "--plan", "--no-color", "--database", &self.alias]);
        let ended = command.with_words(words).run(around, interrupt).await?;
        Ok(ended.status.success().then(|| ended.output.lines().filter_map(parse).collect()))
    }
}

/// What has to be migrated to, and where each app stood, so that all of `before` and nothing else is applied again.
pub fn way_back(before: &[Listed], after: &[Listed]) -> Vec<(String, String)> {
    let is_applied = |list: &[Listed], one: &Listed| list.iter().any(|other| other.applied && other == one);
    let mut apps: Vec<(String, String)> = Vec::new();
    for one in after.iter().rev().filter(|one| one.applied && !is_applied(before, one)) {
        if apps.iter().any(|(app, _)| *app == one.app) {
            continue;
        }
        let last = before.iter().rev().find(|other| other.app == one.app && other.applied);
        apps.push((one.app.clone(), last.map_or_else(|| "zero".to_owned(), |last| last.name.clone())));
    }
    apps
}

/// `[X]  menu.0001_initial`.
fn parse(line: &str) -> Option<Listed> {
    let line = line.trim_start();
    let applied = line.starts_with("[X]");
    let (app, name) = line.strip_prefix("[X]").or_else(|| line.strip_prefix("[ ]"))?.trim().split_once('.')?;
    // A replacing migration says how many it replaces behind its name.
    let name = name.split_whitespace().next()?;
    Some(Listed { app: app.to_owned(), name: name.to_owned(), applied })
}

/// Begins the line that names an app and its target.
pub(super) const STEP: &str = "safe-migrate-step ";

const BACK: &str = r#"
from django.core.management import call_command
for app, target in TARGETS:
    print("safe-migrate-step " + app + " " + target, flush=True)
    call_command("migrate", app, target, database=ALIAS, verbosity=0, interactive=False)
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    fn listed(text: &str) -> Vec<Listed> {
        text.lines().filter_map(parse).collect()
    }

    #[test]
    fn only_a_plain_migrate_is_asked_about() {
        let migrates = |text: &str| {
            let words = words(&format!("python manage.py {text}"));
            Django::of(&words).unwrap().migrates(&words).map(|targets| targets.join(" "))
        };
        assert_eq!(migrates("migrate --noinput -v 2").as_deref(), Some(""));
        assert_eq!(migrates("migrate menu --database=shop").as_deref(), Some("menu"));
        assert_eq!(migrates("migrate menu 0002").as_deref(), Some("menu 0002"));
        for other in ["migrate --fake", "migrate --settings=prod", "migrate --settings prod", "check"] {
            assert_eq!(migrates(other), None, "{other}");
        }
    }

    #[test]
    fn a_manage_py_and_its_database_are_recognised() {
        let django = Django::of(&words("python site/manage.py migrate --database=archive")).unwrap();
        assert_eq!((django.manage.join(" ").as_str(), django.alias()), ("python site/manage.py", "archive"));
        assert_eq!(Django::of(&words("./manage.py migrate --database legacy menu")).unwrap().alias(), "legacy");
        assert_eq!(Django::of(&words("./manage.py migrate")).unwrap().alias(), "default");
        assert_eq!(Django::of(&words("alembic upgrade head")), None);
    }

    #[test]
    fn the_way_back_is_where_each_app_stood() {
        let before = listed("[X]  menu.0001_initial\n[ ]  menu.0002_a\n[ ]  menu.0003_b\n[ ]  orders.0001_initial");
        let after = listed(
            "[X]  menu.0001_initial\n[X]  menu.0002_a\n[X]  menu.0003_b (2 squashed migrations)\n[X]  orders.0001_initial",
        );
        let back = [("orders", "zero"), ("menu", "0001_initial")].map(|(app, to)| (app.to_owned(), to.to_owned()));
        assert_eq!(way_back(&before, &after), back);
        assert_eq!(way_back(&after, &after), []);
    }
}
