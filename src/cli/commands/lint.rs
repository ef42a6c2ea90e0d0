//! `lint`: findings in the migration files, without a database.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::changed_files::changed_since;
use crate::cli::context::Context;
use crate::cli::error::{CliError, ErrorKind};
use crate::cli::failure::policy_hints;
use crate::cli::output::{Outcome, table};
use crate::lint::{Finding, Level, Policy, Rule, lint_files_while, rule, rules};
use crate::migration::{Migration, MigrationSet};
use crate::report::{FindingLevel, FindingReport, format_things};
use crate::workflow::{Error, reported};

/// Look for hazards in the migration files, without a database
///
/// Each file is taken for a run on a database with rows and users: whether a lock
/// or a rewrite hurts is for `rehearse` to measure. Down sections are only looked
/// at for being there. `-- allow: CODE why` above `-- migrate:up` accepts a
/// finding; [policy] of safe-migrate.toml sets the level of a code.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate lint
  safe-migrate lint menu orders
  safe-migrate lint --since origin/main --deny-warnings
  safe-migrate lint --explain set-not-null")]
pub(crate) struct Args {
    /// Only the files of these apps
    #[arg(value_name = "APP")]
    pub(crate) apps: Vec<String>,
    /// Only the files that changed since this commit, branch or tag
    #[arg(long, value_name = "GITREF")]
    pub(crate) since: Option<String>,
    /// Also what is off, as notes
    #[arg(long)]
    pub(crate) all: bool,
    /// Exit with 3 at warnings too
    #[arg(long)]
    pub(crate) deny_warnings: bool,
    /// Print one rule with a bad and a good example
    #[arg(long, value_name = "CODE", conflicts_with_all = ["apps", "since", "all", "deny_warnings", "rules"])]
    pub(crate) explain: Option<String>,
    /// List the codes with their levels
    #[arg(long, conflicts_with_all = ["apps", "since", "all", "deny_warnings"])]
    pub(crate) rules: bool,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    let policy = &context.config.policy;
    if let Some(code) = &args.explain {
        return explained(code, policy);
    }
    if args.rules {
        return Ok(listed(policy));
    }
    let (directory, app) = (&context.config.migrations.dir, &context.config.migrations.app);
    let migrations = MigrationSet::load(directory, app).map_err(Error::from)?;
    let apps = known_apps(&args.apps, &migrations)?;
    let changed = args.since.as_deref().map(|since| changed_since(since, directory)).transpose()?;
    let wanted = |migration: &Migration| {
        let below = migration.path.strip_prefix(directory).unwrap_or(&migration.path);
        (apps.is_empty() || apps.contains(migration.id.app.as_str()))
            && changed.as_ref().is_none_or(|changed| changed.contains(below))
    };
    let count = migrations.iter().filter(|migration| wanted(migration)).count();
    let policy = if args.all { with_all(policy) } else { policy.clone() };
    let wish = context.interrupt.wish();
    // A seed of a million lines takes a while, and the operator is heard meanwhile by another thread.
    let findings = tokio::task::block_in_place(|| lint_files_while(&migrations, wanted, &|| !wish.is_set()));
    wish.check()?;
    let findings: Vec<FindingReport> =
        findings.iter().filter_map(|finding| reported(&below(finding, &context.directory), &policy)).collect();
    concluded(&findings, count, args.deny_warnings)
}

fn known_apps<'a>(apps: &'a [String], migrations: &MigrationSet) -> Result<BTreeSet<&'a str>, CliError> {
    let known = migrations.apps();
    if let Some(unknown) = apps.iter().find(|app| !known.contains(app.as_str())) {
        let known: Vec<&str> = known.into_iter().collect();
        return Err(CliError::usage("plan", format!("there is no app \"{unknown}\""))
            .hint(format!("the apps: {}", known.join(", "))));
    }
    Ok(apps.iter().map(String::as_str).collect())
}

/// The policy with nothing off.
fn with_all(policy: &Policy) -> Policy {
    let mut all = policy.clone();
    let off = rules().map(|rule| rule.code).filter(|code| policy.level(code) == Level::Off);
    all.levels.extend(off.map(|code| (code, Level::Note)));
    all
}

/// With the file as the operator types it.
fn below(finding: &Finding, directory: &Path) -> Finding {
    let file: PathBuf = finding.file.strip_prefix(directory).unwrap_or(&finding.file).to_owned();
    Finding { file, ..finding.clone() }
}

fn concluded(findings: &[FindingReport], files: usize, deny_warnings: bool) -> Result<Outcome, CliError> {
    let mut text = String::new();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for finding in findings {
        let (place, level) = (place(finding), shown_level(finding));
        let _ = writeln!(text, "{place}: {level}: {} [{}]", finding.message, finding.code);
        let next = match &finding.allowed {
            Some(why) => format!("allowed: {why}"),
            None => finding.remedy.clone().unwrap_or_default(),
        };
        let _ = writeln!(text, "    {next}");
        *counts.entry(level).or_default() += 1;
    }
    let count = |level: &str| counts.get(level).copied().unwrap_or_default();
    let (deny, warn, note, allowed) = (count("deny"), count("warn"), count("note"), count("allowed"));
    let _ = writeln!(
        text,
        "{}: {deny} deny, {warn} warn, {note} note, {allowed} allowed",
        format_things(files as u64, "file")
    );
    let value = json!({
        "files": files,
        "findings": findings,
        "counts": { "deny": deny, "warn": warn, "note": note, "allowed": allowed },
    });
    let outcome = Outcome::new(text, value);
    let refused = if deny_warnings { deny + warn } else { deny };
    if refused == 0 {
        return Ok(outcome);
    }
    let level = if deny_warnings { "warn or deny" } else { "deny" };
    let message = format!("{} at level {level}", format_things(refused, "finding"));
    let mut error = CliError::new(ErrorKind::Gate, "lint", message);
    for hint in policy_hints() {
        error = error.hint(hint);
    }
    Err(error.with_findings(outcome))
}

fn place(finding: &FindingReport) -> String {
    let line = finding.line.map(|line| format!(":{line}")).unwrap_or_default();
    format!("{}{line}", finding.file.as_deref().unwrap_or_default())
}

fn shown_level(finding: &FindingReport) -> &'static str {
    match (&finding.allowed, finding.level) {
        (Some(_), _) => "allowed",
        (None, FindingLevel::Note) => "note",
        (None, FindingLevel::Warn) => "warn",
        (None, FindingLevel::Deny) => "deny",
    }
}

fn explained(code: &str, policy: &Policy) -> Result<Outcome, CliError> {
    let Some(rule) = rule(code) else {
        return Err(CliError::usage("unknown-rule", format!("there is no rule `{code}`"))
            .hint("`safe-migrate lint --rules` lists them"));
    };
    let indented = |example: &str| example.trim_end().lines().map(|line| format!("    {line}\n")).collect::<String>();
    let text = format!(
        "{code} ({})\n  {}\n  instead: {}\n\n  bad:\n{}\n  good:\n{}",
        policy.level(code),
        rule.title,
        rule.remedy,
        indented(rule.bad),
        indented(rule.good)
    );
    Ok(Outcome::new(text, json!({ "rule": value(rule, policy) })))
}

fn listed(policy: &Policy) -> Outcome {
    let rows = rules().map(|rule| [rule.code.to_owned(), policy.level(rule.code).to_string(), rule.title.to_owned()]);
    let values: Vec<Value> = rules().map(|rule| value(rule, policy)).collect();
    Outcome::new(table(["CODE", "LEVEL", "WHAT"], rows), json!({ "rules": values }))
}

fn value(rule: &Rule, policy: &Policy) -> Value {
    json!({
        "code": rule.code,
        "level": policy.level(rule.code).name(),
        "title": rule.title,
        "remedy": rule.remedy,
        "bad": rule.bad,
        "good": rule.good,
    })
}
