//! `audit repair`: removes the elements that a broken write left behind the head of the audit chain.
//!
//! It removes them only if no acknowledged entry can be among them: the chain has the head's last entry, and
//! no checkpoint and no `STATE_DIR` covers more entries than the head. The removed elements are saved to a
//! file, and the audit event holds its hash.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use ambient::Clock;
use audit_chain::checkpoint::CheckpointStore;
use audit_chain::{
    AppendError, AuditAction, AuditLog, Details, EndFault, Event, Head, SurplusTail, read_checkpoint,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use storage::{DurableStorage, StateDir};
use time::OffsetDateTime;

use crate::cli::call::{Failure, Session, read_note, show};
use crate::cli::exit_code::{BROKEN, NOT_CHECKED};
use crate::domain::identity::Caller;

/// The format name in the first line of the saved file.
const FORMAT: &str = "voketag-audit-tail/v1";

/// `audit repair …`.
#[derive(Debug, Args)]
pub struct RepairArgs {
    /// The file to save the removed entries to. It must not exist, and is never overwritten. It stays if the
    /// repair is rejected after it was written.
    #[arg(long)]
    out: PathBuf,
    /// A file with a checkpoint that was kept elsewhere. If it covers more entries than the head, nothing is
    /// removed. The option may be repeated.
    #[arg(long = "checkpoint")]
    checkpoints: Vec<PathBuf>,
}

/// Why nothing was removed.
#[derive(Debug, thiserror::Error)]
enum NotRepaired {
    /// Removing the tail would not repair the chain, or might lose entries.
    #[error("{0}; nothing was changed")]
    No(String),
    /// The state of the chain could not be determined.
    #[error("{0}")]
    Unknown(String),
}

fn unknown(error: impl ToString) -> NotRepaired {
    NotRepaired::Unknown(error.to_string())
}

/// Repairs the chain and prints what was done. Exits 0 if the chain can be appended to, 1 if the repair was
/// rejected, and 2 if the state could not be determined.
pub(crate) async fn repair(session: &Session, args: RepairArgs) -> Result<ExitCode, Failure> {
    match carried_out(session.storage(), session.clock(), session.state_dir(), &args).await {
        Ok(done) => {
            show(&done);
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("factory-service: {error}");
            let code = if matches!(error, NotRepaired::No(_)) { BROKEN } else { NOT_CHECKED };
            Ok(ExitCode::from(code))
        }
    }
}

async fn carried_out(
    storage: &DurableStorage,
    clock: &Arc<dyn Clock>,
    state_dir: Option<&StateDir>,
    args: &RepairArgs,
) -> Result<Value, NotRepaired> {
    let deployment = storage.refresher.refresh().await.map_err(unknown)?;
    let log = storage.audit.seen_log().ok_or_else(|| unknown("the deployment is not known yet"))?.clone();
    let end = log.end().await.map_err(unknown)?;
    match end.fault {
        None => return Ok(json!({"state": "sound", "size": end.head.size, "entries_cut": 0})),
        Some(EndFault::Surplus { .. }) => {}
        Some(other) => {
            return Err(NotRepaired::No(format!(
                "{other}: entries were lost or changed, and a repair cannot bring them back; restore a backup"
            )));
        }
    }
    no_checkpoint_covers_more(&log, end.head, args).await?;
    if let Some(dir) = state_dir {
        let known = dir.known(deployment.id()).map_err(unknown)?;
        let head = known.map(|known| known.head_in(deployment.generation())).transpose();
        let head =
            head.map_err(|error| NotRepaired::No(format!("rolled back: {error}; nothing was changed")))?;
        check_covers_no_more("STATE_DIR", head.flatten().map_or(0, |head| head.size), end.head)?;
    }
    let mut tail = SurplusTail::after(log.clone(), end.head);
    let saved = save(&args.out, clock.utc(), end.head, &mut tail).await?;
    let entries_cut = tail.entries();
    let event = event(clock.unix_millis(), entries_cut, &saved)?;
    let guard = [deployment.guard()];
    let done = tail.cut(&guard, &event).await.map_err(|error| cut_error(&error, &args.out))?;
    Ok(json!({
        "state": "repaired", "entries_cut": entries_cut, "size": done.seq + 1, "event_seq": done.seq,
        "saved_to": args.out.display().to_string(), "sha256": saved,
    }))
}

fn cut_error(error: &AppendError, out: &Path) -> NotRepaired {
    let kept = format!("the tail as it was read is in {}", out.display());
    match error {
        AppendError::Contention => NotRepaired::No(format!(
            "the chain changed while its tail was saved ({kept}); run the command again with another --out"
        )),
        AppendError::Unavailable { maybe_written: true, .. } => NotRepaired::Unknown(format!(
            "Redis did not answer, so the tail may or may not be removed ({kept}); run the command again \
             with another --out"
        )),
        other => NotRepaired::Unknown(format!("{other}; nothing was removed ({kept})")),
    }
}

fn check_covers_no_more(who: &str, known: u64, head: Head) -> Result<(), NotRepaired> {
    if known <= head.size {
        return Ok(());
    }
    Err(NotRepaired::No(format!(
        "{who} covers {known} entries and the audit head {}: acknowledged entries may be behind the head; \
         restore a backup",
        head.size
    )))
}

/// Checks that no checkpoint, stored or kept elsewhere, covers more entries than the head. A checkpoint that
/// cannot be read might, so it is an error.
async fn no_checkpoint_covers_more(log: &AuditLog, head: Head, args: &RepairArgs) -> Result<(), NotRepaired> {
    let stored = CheckpointStore::new(log.clone()).notes().await.map_err(unknown)?;
    for (number, text) in stored {
        let who = format!("the stored checkpoint of key {number}");
        let read = read_checkpoint(text.as_bytes());
        let (_, checkpoint) = read.map_err(|why| NotRepaired::No(format!("{who} cannot be read: {why}")))?;
        check_covers_no_more(&who, checkpoint.size, head)?;
    }
    for path in &args.checkpoints {
        let who = format!("the checkpoint {}", path.display());
        let text = read_note(path).map_err(unknown)?;
        let read = read_checkpoint(text.as_bytes());
        let (_, checkpoint) =
            read.map_err(|why| unknown(format!("{who} cannot be read: {why}; nothing was changed")))?;
        check_covers_no_more(&who, checkpoint.size, head)?;
    }
    Ok(())
}

/// Writes the tail to a new file: a header line, one line for each element, and a last line that marks the
/// file as complete. Returns the file's SHA-256 in lower-case hex.
async fn save(
    out: &Path,
    now: OffsetDateTime,
    head: Head,
    tail: &mut SurplusTail,
) -> Result<String, NotRepaired> {
    let failed = |error: io::Error| {
        let taken = error.kind() == io::ErrorKind::AlreadyExists;
        let hint = if taken { "; it is not overwritten, name another with --out" } else { "" };
        NotRepaired::No(format!("--out {}: {error}{hint}", out.display()))
    };
    let file = OpenOptions::new().write(true).create_new(true).open(out).map_err(failed)?;
    let mut sink = Hashing { sink: BufWriter::new(&file), hash: Sha256::new() };
    let saved_at = ambient::rfc3339::format(now);
    let first = json!({"format": FORMAT, "size": head.size, "head": head.hash, "saved_at": saved_at});
    sink.line(&first).map_err(failed)?;
    loop {
        let page = tail.next().await.map_err(unknown)?;
        if page.is_empty() {
            break;
        }
        for element in page {
            let bytes = STANDARD.encode(&element.bytes);
            let line = json!({"segment": element.segment, "place": element.place, "element": bytes});
            sink.line(&line).map_err(failed)?;
        }
    }
    sink.line(&json!({"end": true, "entries": tail.entries()})).map_err(failed)?;
    sink.sink.flush().map_err(failed)?;
    let sha256 = hex::encode(sink.hash.finalize());
    file.sync_all().map_err(failed)?;
    // The file's name must be as durable as its content.
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(sha256)
}

/// A writer that hashes what it writes.
struct Hashing<W> {
    sink: W,
    hash: Sha256,
}

impl<W: Write> Hashing<W> {
    fn line(&mut self, value: &Value) -> io::Result<()> {
        let line = format!("{value}\n");
        self.hash.update(line.as_bytes());
        self.sink.write_all(line.as_bytes())
    }
}

fn event(now: u64, entries_cut: u64, sha256: &str) -> Result<Event, NotRepaired> {
    let cut = u32::try_from(entries_cut).map_err(unknown)?;
    let details = Details::new().with("entries_cut", cut).with("saved_sha256", sha256);
    let caller = Caller::command_line(now);
    let repaired = caller.event(AuditAction::AuditRepaired, "audit/*".to_owned(), details);
    Event::new(now, ambient::uuid_v7(now), ambient::entropy::random_bytes(), repaired).map_err(unknown)
}
