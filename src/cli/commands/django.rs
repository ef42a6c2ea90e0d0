//! `--django`: the usual commands on a Django project's own migrations, by its `manage.py`.

use serde_json::json;

use super::exec;
use super::run_options::RunOptions;
use crate::cli::context::Context;
use crate::cli::error::{CliError, ErrorKind};
use crate::cli::output::Outcome;
use crate::workflow::exec::{Asked, BackTrial, Django, ExecRequest, Listed, Probe, Squashed, ask, ask_sql};
use crate::workflow::{RehearsalChoice, SnapshotChoice};

/// The project's `manage.py`, as `[exec] django` names it.
fn project(context: &Context) -> Result<Django, CliError> {
    let words = &context.config.exec.django;
    Django::of(words).ok_or_else(|| {
        CliError::usage("no-manage-py", format!("[exec] django names no manage.py: {}", words.join(" ")))
            .hint("for example: django = [\"python\", \"backend/manage.py\"]")
    })
}

fn request(context: &Context, django: Django, arguments: &[&str]) -> ExecRequest {
    let words = django.words(arguments);
    ExecRequest {
        command: exec::wrapped(context, words, context.directory.clone()),
        probe: Probe::Django(django),
        pending: None,
        snapshot: SnapshotChoice::New,
        rehearsal: RehearsalChoice::Auto,
        way_back: BackTrial::Auto,
        accept_data_loss: None,
        accept_drift: None,
        accept_no_restore: None,
        wait: std::time::Duration::ZERO,
        rehearse_only: false,
    }
}

/// `apply --django [APP [TARGET]]`, and `rollback --django APP TARGET`, which Django spells the same.
pub(super) async fn migrate(
    context: &Context,
    (app, target): (Option<&str>, Option<&str>),
    options: &RunOptions,
) -> Result<Outcome, CliError> {
    let no_use = [
        ("--skip-snapshot", options.skip_snapshot.is_some()),
        ("--skip-rehearsal", options.skip_rehearsal.is_some()),
        ("--fence", options.fence.is_some()),
        ("--step", options.step.is_some()),
    ];
    if let Some((name, _)) = no_use.iter().find(|(_, given)| *given) {
        return Err(CliError::usage("django-option", format!("{name} does nothing for --django")).hint(
            "Django runs its migrations itself, and what they do is known only from a copy; --snapshot max-age=1h and \
             --rehearsal ID reuse what is there",
        ));
    }
    let arguments: Vec<&str> = ["migrate"].into_iter().chain(app).chain(target).collect();
    let mut request = request(context, project(context)?, &arguments);
    request.accept_data_loss.clone_from(&options.accept_data_loss);
    request.accept_drift.clone_from(&options.accept_drift);
    request.accept_no_restore.clone_from(&options.accept_no_restore);
    request.snapshot = options.snapshot.choice()?;
    request.rehearsal = options.rehearsal.choice();
    request.wait = options.wait.unwrap_or_default();
    request.rehearse_only = options.dry_run;
    exec::run_request(context, &request).await
}

/// `rehearse --django [APP [TARGET]]`.
pub(super) async fn rehearse(
    context: &Context,
    (app, target): (Option<&str>, Option<&str>),
    accepted: Option<&str>,
) -> Result<Outcome, CliError> {
    let arguments: Vec<&str> = ["migrate"].into_iter().chain(app).chain(target).collect();
    let mut request = request(context, project(context)?, &arguments);
    request.rehearse_only = true;
    request.accept_data_loss = accepted.map(str::to_owned);
    exec::run_request(context, &request).await
}

/// What Django's own table says, through the project's own settings.
async fn asked(context: &Context) -> Result<(Django, Asked), CliError> {
    let django = project(context)?;
    let request = request(context, django.clone(), &[]);
    let target = context.target()?;
    let asked = context.unless_interrupted(async { Ok(ask(&target, &request, &context.operator).await?) }).await?;
    Ok((django, asked))
}

/// `status --django [APP…]`.
pub(super) async fn status(context: &Context, apps: &[String], check: bool) -> Result<Outcome, CliError> {
    let (_, Asked { listed, squashed }) = asked(context).await?;
    // Of an app whose squashed migration is partly applied Django lists nothing.
    let known = |app: &String| {
        listed.iter().any(|one| one.app == *app) || squashed.iter().any(|one: &Squashed| one.app == *app)
    };
    if let Some(unknown) = apps.iter().find(|app| !known(app)) {
        return Err(CliError::usage("unknown-app", format!("Django knows no migrations of an app \"{unknown}\"")));
    }
    let shown: Vec<&Listed> = listed.iter().filter(|one| apps.is_empty() || apps.contains(&one.app)).collect();
    let mut text = String::new();
    let mut names: Vec<&str> = shown.iter().map(|one| one.app.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    for app in names {
        text.push_str(&format!("{app}\n"));
        for one in shown.iter().filter(|one| one.app == app) {
            text.push_str(&format!(" {}\n", marked(one, &squashed)));
        }
    }
    let pending = shown.iter().filter(|one| !one.applied).count();
    let rows = shown.iter().map(|one| json!({ "app": one.app, "name": one.name, "applied": one.applied }));
    let outcome = Outcome::new(text, json!({ "migrations": rows.collect::<Vec<_>>(), "pending": pending }));
    if check && pending > 0 {
        return Err(CliError::new(ErrorKind::Gate, "pending", format!("{pending} pending"))
            .production("unchanged")
            .hint("`safe-migrate plan --django` shows what `safe-migrate apply --django` would do")
            .with_findings(outcome));
    }
    Ok(outcome)
}

/// `[X] 0001_initial`; as in `showmigrations`, `[-]` is applied by what it replaces alone.
fn marked(one: &Listed, squashed: &[Squashed]) -> String {
    let is_it = |other: &&Squashed| other.app == one.app && other.name == one.name;
    match (one.applied, squashed.iter().find(is_it).is_some_and(Squashed::is_unrecorded)) {
        (true, true) => format!("[-] {}  applied as what it replaces; `migrate` records it", one.name),
        (true, false) => format!("[X] {}", one.name),
        (false, _) => format!("[ ] {}", one.name),
    }
}

/// `plan --django [APP]`: what is pending, in Django's order, with its SQL where there is some.
pub(super) async fn plan(context: &Context, app: Option<&str>, sql: bool) -> Result<Outcome, CliError> {
    let (django, Asked { listed, .. }) = asked(context).await?;
    let pending: Vec<&Listed> =
        listed.iter().filter(|one| !one.applied && app.is_none_or(|app| one.app == app)).collect();
    if pending.is_empty() {
        return Ok(Outcome::new("nothing to do\n", json!({ "steps": [] })));
    }
    let mut texts = Vec::new();
    if sql {
        let wanted: Vec<(String, String)> = pending.iter().map(|one| (one.app.clone(), one.name.clone())).collect();
        let (target, request) = (context.target()?, request(context, django, &[]));
        let asked = async { Ok::<_, CliError>(ask_sql(&target, &request, &wanted).await?) };
        texts = context.unless_interrupted(asked).await?;
    }
    let (mut text, mut steps) = (String::new(), Vec::new());
    for (at, one) in pending.into_iter().enumerate() {
        text.push_str(&format!("{one}\n"));
        let mut step = json!({ "app": one.app, "name": one.name });
        if let Some(said) = texts.get(at) {
            text.push_str(&indented(said));
            step["sql"] = said.clone().into();
        }
        steps.push(step);
    }
    Ok(Outcome::new(text, json!({ "steps": steps })))
}

fn indented(sql: &str) -> String {
    sql.lines().map(|line| format!("    {line}\n")).collect()
}
