//! Programs of migrations (`-- migrate:up exec: scripts/fill.py`): run with the address of production, or of the shadow and
//! then cut off from all else.

use std::ffi::OsString;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::OnceLock;

use crate::migration::{Migration, Plan, Program};
use crate::postgres::{ConnectionSpec, Endpoint, ProgramFailure, ProgramRunner, words_that_confine};

use super::exec::{Surroundings, WrappedCommand};
use super::{Confirmation, Error, Interrupt, Operator, Project, Unit};

/// What a program sees of the environment, and nothing else.
#[derive(Clone, Debug, Default)]
pub struct ProgramEnvironment {
    /// `[exec] env`: variables and templates of the database's address.
    pub templates: Vec<(String, String)>,
    /// `[exec] pass`: the caller's variables, and PATH.
    pub passed: Vec<(String, String)>,
}

/// Where a program of the plan is named that is not there: `file:line: there is no program …`; none: all are there.
pub fn missing(environment: &ProgramEnvironment, plan: &Plan) -> Option<String> {
    let path = environment.passed.iter().find(|(name, _)| name == "PATH").map_or("", |(_, path)| path);
    let in_path = |name: &str| std::env::split_paths(path).any(|dir| dir.join(name).is_file());
    plan.steps.iter().find_map(|step| {
        let section = step.section()?;
        let program = section.program.as_ref()?;
        let named = program.words.first().filter(|word| !word.contains('/')).map(String::as_str);
        // A name of PATH may also be a file beside the migration, of which the program knows.
        let name = program.missing().or_else(|| named.filter(|name| !in_path(name)))?;
        let line = section.statements.first().map_or(1, |statement| statement.line);
        Some(format!("{}:{line}: there is no program {name}", step.migration.path.display()))
    })
}

/// Runs programs on one database.
pub struct MigrationPrograms<'a> {
    environment: &'a ProgramEnvironment,
    endpoint: Endpoint,
    confinement: ProgramConfinement,
    /// Of production's server.
    major: Option<u32>,
    said: &'static str,
    operator: &'a dyn Operator,
    interrupt: &'a Interrupt,
}

/// What cuts programs off from all but their database. To find that out costs the start of several processes, and few
/// migrations run a program.
enum ProgramConfinement {
    /// Nothing, and nothing is to be said of it.
    NotWanted,
    /// Nothing: a shadow on a named server is behind a network, and the program would be cut off from it too.
    ServerElsewhere,
    /// Namespaces, where the system lets us make them: the words before the program, by the directory of the server.
    Namespaces { dir: PathBuf, words: OnceLock<Option<Vec<OsString>>> },
}

impl ProgramConfinement {
    /// None: the system does not let us.
    fn words(&self) -> Option<&[OsString]> {
        match self {
            Self::NotWanted => Some(&[]),
            Self::ServerElsewhere => None,
            Self::Namespaces { dir, words } => words.get_or_init(|| words_that_confine(dir)).as_deref(),
        }
    }
}

impl std::fmt::Debug for MigrationPrograms<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MigrationPrograms").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl<'a> MigrationPrograms<'a> {
    /// With production's address, whose server is of this major version. None: the migration runs none.
    pub async fn in_production(
        (project, migration, major): (&'a Project, &Migration, u32),
        operator: &'a dyn Operator,
        interrupt: &'a Interrupt,
    ) -> Result<Option<Self>, Error> {
        if !migration.runs_a_program() {
            return Ok(None);
        }
        let (environment, endpoint) = (&project.program_environment, project.target.endpoint().await?);
        let confinement = ProgramConfinement::NotWanted;
        Ok(Some(Self { environment, endpoint, confinement, major: Some(major), said: "  ", operator, interrupt }))
    }

    /// With the address of a private database; `dir` is where its server's socket is.
    pub async fn in_shadow(
        project: &'a Project,
        spec: &ConnectionSpec,
        (dir, operator, interrupt): (&Path, &'a dyn Operator, &'a Interrupt),
    ) -> Result<Self, Error> {
        let (environment, endpoint) = (&project.program_environment, spec.endpoint().await?);
        let confinement = match project.shadow_server {
            Some(_) => ProgramConfinement::ServerElsewhere,
            None => ProgramConfinement::Namespaces { dir: dir.to_owned(), words: OnceLock::new() },
        };
        Ok(Self { environment, endpoint, confinement, major: None, said: "  shadow | ", operator, interrupt })
    }

    /// How a program is run there.
    pub fn surroundings(&self) -> Surroundings<'_> {
        let confined_by = self.confinement.words().unwrap_or_default();
        Surroundings { endpoint: &self.endpoint, confined_by, tell: None }
    }

    /// What the report has to say when a program of this plan is not cut off from all else.
    pub fn not_confined(&self, plan: &Plan) -> Option<String> {
        let has_program = plan.steps.iter().any(|step| step.migration.runs_a_program());
        let said = "the programs of the plan were not cut off from the network, only told to go to the shadow";
        (has_program && self.confinement.words().is_none()).then(|| said.to_owned())
    }

    async fn run_one(&self, program: &Program) -> Result<(), ProgramFailure> {
        let not_run = |why: String| ProgramFailure::NotRun(why);
        let Some(dir) = &program.dir else {
            return Err(not_run("its migration has no file any more, so it cannot be found".to_owned()));
        };
        if let Some(missing) = program.missing() {
            return Err(not_run(format!("there is no program {missing}")));
        }
        if let Some(file) = program.changed_file() {
            return Err(not_run(format!("{file} changed since the plan was made")));
        }
        let dir = std::path::absolute(dir).map_err(|error| not_run(error.to_string()))?;
        let mut words = program.words.clone();
        // A path is one from there; a name is one of PATH.
        if let Some(first) = words.first_mut().filter(|first| first.contains('/')) {
            *first = dir.join(&*first).display().to_string();
        }
        let ProgramEnvironment { templates, passed } = self.environment.clone();
        let command = WrappedCommand { words, dir, templates, passed };
        let command = self.major.map_or_else(|| command.clone(), |major| command.noticed_when_dead(major));
        let tell = |line: &str| self.operator.step(&format!("{}{line}", self.said));
        let confined_by = self.confinement.words().unwrap_or_default();
        let around = Surroundings { endpoint: &self.endpoint, confined_by, tell: Some(&tell) };
        self.operator.step(&format!("{}running {}", self.said, program.display()));
        match command.run(around, self.interrupt).await {
            Ok(ended) if ended.status.success() => Ok(()),
            Ok(ended) => Err(ProgramFailure::Failed(ended.why())),
            Err(Error::Interrupted) => Err(ProgramFailure::Interrupted),
            Err(error) => Err(not_run(error.to_string())),
        }
    }
}

impl ProgramRunner for MigrationPrograms<'_> {
    fn run<'b>(
        &'b self,
        program: &'b Program,
    ) -> Pin<Box<dyn Future<Output = Result<(), ProgramFailure>> + Send + 'b>> {
        Box::pin(self.run_one(program))
    }
}

/// Nobody is told, and nobody is asked.
#[derive(Debug)]
pub struct Silent;

impl Operator for Silent {
    fn step(&self, _message: &str) {}
    fn begin(&self, _task: &str, _total: Option<u64>, _unit: Unit) {}
    fn advance(&self, _amount: u64) {}
    fn finish(&self, _summary: &str) {}
    fn warn(&self, _message: &str) {}

    fn can_confirm(&self) -> bool {
        false
    }

    fn confirm(&self, _question: &str) -> Confirmation {
        Confirmation::CannotAsk
    }

    fn confirm_typed(&self, _question: &str) -> Confirmation {
        Confirmation::CannotAsk
    }

    fn confirm_name(&self, _question: &str, _name: &str) -> Confirmation {
        Confirmation::CannotAsk
    }
}
