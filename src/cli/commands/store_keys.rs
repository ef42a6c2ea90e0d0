//! `store keys`: who signs here, who is trusted, and whose signatures the store has.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::cli::config::KeyFile;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::{Outcome, table};
use crate::report::{first_five, format_ago, format_list, format_things};
use crate::signing::{Doubt, May, PublicKey, SigningKey, TrustedKey};
use crate::snapshot::{self, SnapshotId, SnapshotState, SnapshotSummary};
use crate::store::Store;
use crate::workflow::retention::{lost, withheld};
use crate::workflow::{Confirmation, Error, Gate, Operator};

/// Show the keys: of this machine, of [trust], and those that signed what is in the store
///
/// A key counts when [trust] keys, --trust-key or SAFE_MIGRATE_TRUST_KEY names it; what
/// lies in the store never makes it count. Where none is named, everything is believed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate store keys                 also what to keep off the host
  safe-migrate store keys new             make the key of this user
  safe-migrate store keys adopt --all     sign what was taken before")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    New(NewArgs),
    Adopt(AdoptArgs),
    Lost(LostArgs),
}

/// Say that a numbered snapshot is lost, so that nobody asks after it any more
///
/// A disk that died, a rule of the bucket, somebody who removed it by hand: this signs
/// that it was no theft.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate store keys lost 41 42 --why \"the old disk\"")]
struct LostArgs {
    /// The numbers, as `store check` names them
    #[arg(value_name = "NUMBER", required = true)]
    numbers: Vec<u64>,
    /// What became of them
    #[arg(long, value_name = "WHY")]
    why: String,
    /// The key that gave the numbers, where several have gaps
    #[arg(long, value_name = "KEY")]
    key: Option<PublicKey>,
}

/// Make the key of this user, and print the line for [trust] keys
///
/// It lies in the user's configuration directory, or in the file that
/// SAFE_MIGRATE_SIGNING_KEY names, as PEM with mode 0600. Never over one that is there.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate store keys new")]
struct NewArgs {}

/// Sign snapshots that were taken without a key, or by one that is not trusted
///
/// Only what you know to be yours: from then on it is believed like one that was signed
/// when it was taken.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  safe-migrate store keys adopt --all
  safe-migrate store keys adopt 20261122T135823Z-7f3a9c")]
struct AdoptArgs {
    /// The IDs of the snapshots
    #[arg(value_name = "ID", required_unless_present = "all")]
    snapshots: Vec<String>,
    /// All of this store that are not signed by a key that counts
    #[arg(long, conflicts_with = "snapshots")]
    all: bool,
}

pub(super) async fn run(context: &Context, args: &Args) -> Result<Outcome, CliError> {
    match &args.command {
        None => context.unless_interrupted(show(context)).await,
        Some(Command::New(NewArgs {})) => new(context),
        Some(Command::Adopt(args)) => adopt(context, args).await,
        Some(Command::Lost(args)) => context.unless_interrupted(lose(context, args)).await,
    }
}

fn new(context: &Context) -> Result<Outcome, CliError> {
    let file = KeyFile::of(&context.environment);
    let path = file.path.clone().unwrap_or_default();
    if file.read()?.is_some() {
        return Err(CliError::usage("key-exists", format!("{} is there already", path.display()))
            .hint("`safe-migrate store keys` shows it; move it away first if another one is meant"));
    }
    let key = file.create()?;
    let public = key.public();
    let text = format!(
        "wrote the key of this user to {} (keep it out of backups that others read, and of git)\n\
         next: name it in safe-migrate.toml, on every host that uses the store:\n{}",
        path.display(),
        line(context, &public)
    );
    Ok(Outcome::new(text, json!({ "key": public, "file": path })))
}

/// What to write into the configuration.
fn line(context: &Context, public: &PublicKey) -> String {
    format!("  [trust]\n  keys = [{{ name = \"{}\", key = \"{public}\" }}]\n", context.environment.host())
}

/// What one key signed of one source.
#[derive(Debug)]
struct Signed {
    snapshots: usize,
    numbers: (u64, u64),
    newest: SnapshotId,
}

async fn show(context: &Context) -> Result<Outcome, CliError> {
    let settings = context.store_alone()?;
    let store = Store::open(&settings).await.map_err(Error::from)?;
    let file = KeyFile::of(&context.environment);
    file.warning().iter().for_each(|warning| context.operator.warn(warning));
    let trust = store.trust();
    let found = snapshot::list(&store).await.map_err(Error::from)?;
    let (signed, unsigned) = signatures(&store, &found).await?;
    let own = trust.signer.as_ref().map(SigningKey::public);
    let path = file.path.unwrap_or_default();
    let mut text = match (&own, trust.own()) {
        (None, _) => {
            format!("this machine has no key ({} is not there): what it writes is not signed\n", path.display())
        }
        (Some(key), Some(named)) => format!("this machine signs as \"{}\", {key} ({})\n", named.name, path.display()),
        (Some(key), None) => {
            format!("this machine signs with {key} ({}), which [trust] does not name\n", path.display())
        }
    };
    if !trust.is_set() {
        text.push_str("[trust] keys is not set: whoever can write to the store is believed\n");
        if let Some(key) = &own {
            text.push_str(&format!("to believe this machine only, in safe-migrate.toml:\n{}", line(context, key)));
        }
    }
    if trust.is_set() {
        text.push('\n');
        text.push_str(&table(["TRUSTED", "KEY", "MAY", "SOURCES"], trust.keys.iter().map(trusted_row)));
    }
    if !signed.is_empty() {
        let name =
            |key: &PublicKey| trust.keys.iter().find(|one| one.key == *key).map_or("not trusted", |one| &one.name);
        let now = OffsetDateTime::now_utc();
        let rows = signed.iter().map(|((key, source), of)| {
            let newest = format_ago(of.newest.begun_at(), now);
            [
                name(key).to_owned(),
                key.to_string(),
                source.clone(),
                of.snapshots.to_string(),
                numbers(of.numbers),
                newest,
            ]
        });
        text.push('\n');
        text.push_str(&table(["SIGNED BY", "KEY", "SOURCE", "SNAPSHOTS", "NUMBERS", "NEWEST"], rows));
    }
    if unsigned > 0 {
        let _infallible = writeln!(
            text,
            "{} signed by nobody; `safe-migrate store keys adopt` signs them",
            format_things(unsigned, "snapshot")
        );
    }
    text.push_str(&sheet(&store, own.as_ref(), &trust.keys));
    let value = json!({
        "store": store.location(),
        "store_id": store.id(),
        "own": own,
        "trusted": trust.keys.iter().map(|key| json!({
            "name": key.name, "key": key.key, "sources": key.sources, "last": key.last,
            "may": key.may.iter().map(|may| may.word()).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "signed": signed.iter().map(|((key, source), of)| json!({
            "key": key, "source": source, "snapshots": of.snapshots, "first": of.numbers.0, "last": of.numbers.1,
        })).collect::<Vec<Value>>(),
        "unsigned": unsigned,
    });
    Ok(Outcome::new(text, value))
}

fn trusted_row(key: &TrustedKey) -> [String; 4] {
    let may: Vec<&str> = key.may.iter().map(|may| may.word()).collect();
    let mut may = if key.may.len() == May::ALL.len() { "all".to_owned() } else { may.join(", ") };
    if let Some(last) = key.last {
        let _infallible = write!(may, ", up to number {last}");
    }
    if let Some(only) = &key.only {
        let _infallible = write!(may, ", {} that are listed", only.len());
    }
    let sources = if key.sources.is_empty() {
        "all".to_owned()
    } else {
        format_list(&key.sources.iter().cloned().collect::<Vec<_>>())
    };
    [key.name.clone(), key.key.to_string(), may, sources]
}

fn numbers((first, last): (u64, u64)) -> String {
    if last == 0 { "not counted".to_owned() } else { format!("{first} to {last}") }
}

/// What is needed when this machine and its configuration are gone.
fn sheet(store: &Store, own: Option<&PublicKey>, trusted: &[TrustedKey]) -> String {
    let mut keys: Vec<PublicKey> =
        trusted.iter().filter(|key| key.may.contains(&May::Snapshot)).map(|key| key.key).collect();
    keys.extend(own.copied().filter(|own| !keys.contains(own)));
    let mut text = format!(
        "\nkeep this off the host, for the day on which it is gone:\n  store    {}\n  id       {}\n",
        store.location(),
        store.id()
    );
    for key in &keys {
        let _infallible = writeln!(text, "  key      {key}");
    }
    let given: String = keys.iter().map(|key| format!(" --trust-key {key}")).collect();
    let _infallible = writeln!(text, "  restore  safe-migrate restore --store {}{given}", store.location());
    text
}

/// What each key signed of each source, and how many nobody did.
async fn signatures(
    store: &Store,
    found: &[SnapshotSummary],
) -> Result<(BTreeMap<(PublicKey, String), Signed>, u64), CliError> {
    let mut signed: BTreeMap<(PublicKey, String), Signed> = BTreeMap::new();
    let mut unsigned = 0;
    for one in found {
        let Some(statement) = snapshot::statement(store, &one.id).await.map_err(Error::from)? else {
            unsigned += 1;
            continue;
        };
        let (key, number) = ((statement.key, statement.source), statement.sequence);
        let of = signed.entry(key).or_insert_with(|| Signed { snapshots: 0, numbers: (0, 0), newest: one.id.clone() });
        of.snapshots += 1;
        if number > 0 {
            let first = if of.numbers.0 == 0 { number } else { of.numbers.0.min(number) };
            of.numbers = (first, of.numbers.1.max(number));
        }
    }
    Ok((signed, unsigned))
}

async fn lose(context: &Context, args: &LostArgs) -> Result<Outcome, CliError> {
    let store = Store::open(&context.store_alone()?).await.map_err(Error::from)?;
    let found = snapshot::list(&store).await.map_err(Error::from)?;
    let source = context.config.database.source.as_deref();
    let mut gaps = withheld(&store, &found).await?;
    gaps.retain(|gap| source.is_none_or(|source| gap.source == source) && args.key.is_none_or(|key| gap.key == key));
    let [gap] = &gaps[..] else {
        let message = format!(
            "{} of this store and source have gaps, and one is wanted",
            format_things(gaps.len() as u64, "key")
        );
        return Err(
            CliError::usage("no-gap", message).hint("`safe-migrate store check` names them; then --source and --key")
        );
    };
    let by = format!("{}@{}", context.environment.user(), context.environment.host());
    for number in &args.numbers {
        lost(&store, (&gap.source, gap.key, *number), (by.clone(), args.why.clone())).await?;
    }
    let numbers: Vec<String> = args.numbers.iter().map(ToString::to_string).collect();
    let text = format!("signed that number {} of \"{}\" is lost\n", format_list(&numbers), gap.name);
    Ok(Outcome::new(text, json!({ "lost": args.numbers, "source": gap.source, "key": gap.key })))
}

/// Why one is not believed, unless it only lacks a signature.
fn doubt(one: &SnapshotSummary) -> String {
    match &one.state {
        SnapshotState::Untrusted { doubt, .. } => format!("; {doubt}"),
        SnapshotState::Complete(_) | SnapshotState::Damaged { .. } => String::new(),
    }
}

/// Whether nothing speaks against it but that nobody signed it: what was exchanged is not signed by the dozen.
fn is_clean(one: &SnapshotSummary) -> bool {
    match &one.state {
        SnapshotState::Complete(_) => true,
        SnapshotState::Untrusted { doubt, .. } => matches!(doubt, Doubt::Unsigned | Doubt::UnknownKey(_)),
        SnapshotState::Damaged { .. } => false,
    }
}

async fn adopt(context: &Context, args: &AdoptArgs) -> Result<Outcome, CliError> {
    let settings = context.store_alone()?;
    let Some(signer) = &settings.trust.signer else {
        return Err(
            CliError::usage("no-key", "this machine has no key to sign with").hint("safe-migrate store keys new")
        );
    };
    if settings.trust.is_set() && settings.trust.own().is_none_or(|own| !own.may.contains(&May::Snapshot)) {
        return Err(CliError::usage(
            "key-not-trusted",
            format!("[trust] does not let {} sign snapshots", signer.public()),
        )
        .hint("adopt on a machine whose key may, or add the key to [trust] keys first"));
    }
    let store = Store::open(&settings).await.map_err(Error::from)?;
    let wanted: Vec<SnapshotId> = args
        .snapshots
        .iter()
        .map(|id| SnapshotId::parse(id).map_err(|error| Error::from(error).into()))
        .collect::<Result<_, CliError>>()?;
    let (mut chosen, mut others) = (Vec::new(), Vec::new());
    for one in snapshot::list(&store).await.map_err(Error::from)? {
        let is_signed = match one.details().map(|details| &details.signed_by) {
            Some(Some(_)) => true,
            Some(None) if !settings.trust.is_set() => {
                snapshot::statement(&store, &one.id).await.map_err(Error::from)?.is_some()
            }
            _ => false,
        };
        // What a key that counts signed keeps its signature, with its number.
        let is_meant = if args.all { is_clean(&one) } else { wanted.contains(&one.id) };
        if one.said_source().is_some() && is_meant && !is_signed {
            chosen.push(one);
        } else {
            others.push(one.id);
        }
    }
    let is_there = |id: &SnapshotId| chosen.iter().any(|one: &SnapshotSummary| one.id == *id) || others.contains(id);
    if let Some(missing) = wanted.iter().find(|id| !is_there(id)) {
        let location = store.location();
        return Err(Error::from(snapshot::SnapshotError::NoSuchSnapshot { location, id: missing.clone() }).into());
    }
    let ids: Vec<SnapshotId> = chosen.iter().map(|one| one.id.clone()).collect();
    if ids.is_empty() {
        return Ok(Outcome::new(
            "nothing to sign: they are signed by a key that counts\n".to_owned(),
            json!({ "adopted": ids }),
        ));
    }
    let now = OffsetDateTime::now_utc();
    let lines: Vec<String> = chosen
        .iter()
        .map(|one| {
            format!(
                "{}  of \"{}\", {}{}",
                one.id,
                one.said_source().unwrap_or_default(),
                format_ago(one.id.begun_at(), now),
                doubt(one)
            )
        })
        .collect();
    context.operator.step(&first_five(&lines).join("\n"));
    let question =
        format!("sign {} as yours? They are believed from then on", format_things(ids.len() as u64, "snapshot"));
    match context.operator.confirm(&question) {
        Confirmation::Yes => {}
        Confirmation::No => return Err(Error::from(Gate::NotConfirmed).into()),
        Confirmation::CannotAsk => return Err(Error::from(Gate::CannotAsk).into()),
    }
    for one in &chosen {
        if let SnapshotState::Complete(details) | SnapshotState::Untrusted { details, .. } = &one.state {
            snapshot::adopt(&store, &one.id, &details.manifest_sha256).await.map_err(Error::from)?;
        }
    }
    let text = format!("signed {} as {}\n", format_things(ids.len() as u64, "snapshot"), signer.public());
    Ok(Outcome::new(text, json!({ "adopted": ids })))
}
