//! `audit verify --file`: verifies an exported chain with public keys, without Redis and settings.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use audit_chain::export::{ExportHeader, ExportReport, MAX_LINE_BYTES, verify_export};
use keyring::{AuditKeys, KeyringEntry, NoteTrust, VerifierKey};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::call::{Failure, read_note, show};
use crate::cli::exit_code::{BROKEN, NOT_CHECKED};

/// The state of a chain with a wrong entry or checkpoint.
const BROKEN_STATE: &str = "broken";

const CUT: &str = "the export was cut: its last record, with size and head, is missing; the lines before the \
                   cut are right; export the chain again";

/// Why nothing was checked.
#[derive(Debug, thiserror::Error)]
enum NotChecked {
    #[error("{what}: {why}")]
    Input { what: String, why: String },
    #[error(transparent)]
    Note(#[from] Failure),
}

fn input(what: impl ToString, why: impl ToString) -> NotChecked {
    NotChecked::Input { what: what.to_string(), why: why.to_string() }
}

/// The part of the output of `keyring list` that is needed here.
#[derive(Deserialize)]
struct KeyringList {
    audit: Vec<ListedKey>,
}

#[derive(Deserialize)]
struct ListedKey {
    public: String,
    #[serde(flatten)]
    rest: Value,
}

/// What the operator trusts. The statements in the file itself can only make a key less trusted.
pub(crate) struct Trust<'a> {
    /// The trusted verifier keys.
    pub(crate) keys: &'a [String],
    /// A file with the output of `keyring list`.
    pub(crate) keyring: Option<&'a Path>,
    /// Whether the operator states that the chain was never signed.
    pub(crate) never_signed: bool,
}

/// Prints the result. Exits 0 if the chain is right and signed by a trusted key, 1 if something is broken,
/// and 2 if the result could not be determined.
pub(crate) fn verify(file: &Path, trust: &Trust<'_>, checkpoints: &[PathBuf]) -> ExitCode {
    match checked(file, trust, checkpoints) {
        Ok(report) => {
            // The file may contradict the statement that the chain was never signed.
            let was_active = report.header.keys.iter().any(|key| !key["activated_at"].is_null());
            let nothing_to_check = trust.never_signed && !was_active && report.checkpoints.is_empty();
            let (state, code) = outcome(&report, nothing_to_check);
            let mut shown = serde_json::to_value(&report).unwrap_or_default();
            shown["state"] = json!(state);
            shown["ok"] = json!(code == 0);
            shown["signed_size"] = json!(signed_size(&report));
            shown["size"] = json!(report.header.size);
            shown["head"] = json!(report.header.head);
            shown["origin"] = json!(report.header.origin);
            show(&shown);
            if report.is_cut {
                eprintln!("factory-service: {}: {CUT}", file.display());
            }
            ExitCode::from(code)
        }
        Err(error) => {
            eprintln!("factory-service: {error}");
            ExitCode::from(NOT_CHECKED)
        }
    }
}

fn checked(
    file: &Path,
    trust: &Trust<'_>,
    checkpoints: &[PathBuf],
) -> Result<ExportReport<NoteTrust>, NotChecked> {
    let trusted =
        trust.keys.iter().map(|text| text.parse::<VerifierKey>().map_err(|error| input(text, error)));
    let trusted = AuditKeys::trusted(trusted.collect::<Result<Vec<_>, _>>()?);
    let listed = trust.keyring.map(listed).transpose()?;
    let opened = File::open(file).map_err(|error| input(file.display(), error))?;
    let kept = checkpoints.iter().map(|path| read_note(path)).collect::<Result<_, _>>()?;
    let (first, rest) =
        with_checkpoints(BufReader::new(opened), kept).map_err(|error| input(file.display(), error))?;
    let report = verify_export(first.chain(rest), |header, note| {
        // The file's statements about its own keys can only make a key less trusted.
        let statements: Vec<KeyringEntry> =
            header.keys.iter().filter_map(|key| serde_json::from_value(key.clone()).ok()).collect();
        let by_key = trusted.clone().warned_by(&statements).judge(note);
        let by_list = listed.as_ref().map(|listed| listed.clone().warned_by(&statements).judge(note));
        match (by_key, by_list) {
            (NoteTrust::UnknownKey, Some(by_list)) => by_list,
            // Of two statements about a key, the worse one counts.
            (_, Some(worse @ NoteTrust::Broken { .. })) => worse,
            (NoteTrust::Valid { .. }, Some(worse @ NoteTrust::SignedByRevokedKey { .. })) => worse,
            (by_key, _) => by_key,
        }
    });
    report.map_err(|error| input(file.display(), error))
}

/// Adds checkpoints that were kept elsewhere to the export's own, because they must match the same chain.
fn with_checkpoints<R: BufRead>(mut export: R, kept: Vec<String>) -> io::Result<(Cursor<Vec<u8>>, R)> {
    let mut first = Vec::new();
    (&mut export).take(MAX_LINE_BYTES).read_until(b'\n', &mut first)?;
    if !kept.is_empty()
        && let Ok(mut header) = serde_json::from_slice::<ExportHeader>(&first)
    {
        header.checkpoints.extend(kept);
        first = header.to_line();
    }
    Ok((Cursor::new(first), export))
}

/// Reads the keys in the output of `keyring list`, with their revocations.
fn listed(path: &Path) -> Result<AuditKeys, NotChecked> {
    let fail = |why: &dyn ToString| input(path.display(), why.to_string());
    let text = std::fs::read(path).map_err(|error| fail(&error))?;
    let listed: KeyringList = serde_json::from_slice(&text).map_err(|error| fail(&error))?;
    let entries = listed.audit.into_iter().map(|mut key| {
        key.rest["vkey"] = json!(key.public);
        serde_json::from_value::<KeyringEntry>(key.rest)
    });
    let entries: Vec<KeyringEntry> = entries.collect::<Result<_, _>>().map_err(|error| fail(&error))?;
    Ok(AuditKeys::of(&keyring::KeyringRecord { tag: Vec::new(), audit: entries }))
}

/// Returns the number of entries that a trusted key has signed.
fn signed_size(report: &ExportReport<NoteTrust>) -> u64 {
    if report.is_cut {
        return 0;
    }
    let valid =
        report.checkpoints.iter().filter(|note| matches!(note.signature, Some(NoteTrust::Valid { .. })));
    valid.filter_map(|note| note.size).max().unwrap_or(0)
}

fn outcome(report: &ExportReport<NoteTrust>, nothing_to_check: bool) -> (&'static str, u8) {
    let broken = report.first_error.is_some()
        || report.checkpoints.iter().any(|note| {
            note.contradicted.is_some() || matches!(note.signature, Some(NoteTrust::Broken { .. }))
        });
    let any = |wanted: fn(&NoteTrust) -> bool| {
        report.checkpoints.iter().filter_map(|note| note.signature.as_ref()).any(wanted)
    };
    if broken {
        (BROKEN_STATE, BROKEN)
    } else if report.is_cut {
        ("cut_export", NOT_CHECKED)
    } else if report.checkpoints.iter().any(|note| note.unreadable.is_some()) {
        ("unreadable_checkpoint", NOT_CHECKED)
    } else if any(|trust| matches!(trust, NoteTrust::Valid { .. })) {
        if signed_size(report) == report.header.size { ("valid", 0) } else { ("unsigned_tail", NOT_CHECKED) }
    } else if any(|trust| matches!(trust, NoteTrust::SignedByRevokedKey { .. })) {
        ("signed_by_revoked_key", NOT_CHECKED)
    } else if nothing_to_check {
        ("never_signed", 0)
    } else {
        ("unsigned", NOT_CHECKED)
    }
}
