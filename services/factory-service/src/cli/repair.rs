//! `audit repair`: takes away what a broken write left behind the head of the audit chain.
//!
//! It is done only where nothing that was acknowledged can be among it: the chain ends with the head's own
//! entry, and no checkpoint and no `STATE_DIR` knows of more entries than the head. What is cut off is kept
//! in a file, whose hash is in the event.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use ambient::Clock;
use audit_chain::checkpoint::CheckpointStore;
use audit_chain::{
    AppendError, AuditAction, AuditLog, Details, EndFault, Event, Head, NewEvent, SurplusTail,
    read_checkpoint,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use storage::{DurableStorage, StateDir};
use time::OffsetDateTime;

use crate::cli::call::{Failure, Session, read_note, show};
use crate::cli::{BROKEN, NOT_CHECKED};

/// What the saved file says that it is.
const FORMAT: &str = "voketag-audit-tail/v1";

/// `audit repair …`.
#[derive(Debug, Args)]
pub struct RepairArgs {
    /// The file to save the removed entries to. It must not exist, and is never overwritten. It stays if the
    /// repair is refused after it was written.
    #[arg(long)]
    out: PathBuf,
    /// A file with a checkpoint that was kept elsewhere. If it covers more entries than the head, nothing is
    /// removed. The option may be repeated.
    #[arg(long = "checkpoint")]
    checkpoints: Vec<PathBuf>,
}

/// Why nothing was cut.
#[derive(Debug, thiserror::Error)]
enum Refused {
    /// The chain is not one that cutting would mend.
    #[error("{0}; nothing was changed")]
    No(String),
    /// It could not be found out, or is not known.
    #[error("{0}")]
    Unknown(String),
}

fn unknown(error: impl ToString) -> Refused {
    Refused::Unknown(error.to_string())
}

/// Repairs the chain and prints what was done. Exits 0 when the chain can be appended to, 1 when it is
/// refused, 2 when it could not be found out.
pub(crate) async fn repair(session: &Session, args: RepairArgs) -> Result<ExitCode, Failure> {
    match carried_out(session.storage(), session.clock(), session.state_dir(), &args).await {
        Ok(done) => {
            show(&done);
            Ok(ExitCode::SUCCESS)
        }
        Err(refused) => {
            eprintln!("factory-service: {refused}");
            let code = if matches!(refused, Refused::No(_)) { BROKEN } else { NOT_CHECKED };
            Ok(ExitCode::from(code))
        }
    }
}

async fn carried_out(
    storage: &DurableStorage,
    clock: &Arc<dyn Clock>,
    state_dir: Option<&StateDir>,
    args: &RepairArgs,
) -> Result<Value, Refused> {
    let deployment = storage.refresher.refresh().await.map_err(unknown)?;
    let log = storage.audit.seen_log().ok_or_else(|| unknown("the deployment was not seen yet"))?.clone();
    let end = log.end().await.map_err(unknown)?;
    match end.fault {
        None => return Ok(json!({"state": "sound", "size": end.head.size, "entries_cut": 0})),
        Some(EndFault::Surplus { .. }) => {}
        Some(other) => {
            return Err(Refused::No(format!(
                "{other}: entries were lost or changed, and cutting cannot bring them back; restore a backup"
            )));
        }
    }
    nobody_knows_more(&log, end.head, args).await?;
    if let Some(dir) = state_dir {
        let known = dir.known(deployment.id()).map_err(unknown)?;
        let head = known.map(|known| known.head_in(deployment.generation())).transpose();
        let head = head.map_err(|error| Refused::No(format!("rolled back: {error}; nothing was changed")))?;
        refuse_more("STATE_DIR", head.flatten().map_or(0, |head| head.size), end.head)?;
    }
    let mut tail = SurplusTail::after(log.clone(), end.head);
    let saved = save(&args.out, clock.utc(), end.head, &mut tail).await?;
    let entries_cut = tail.entries();
    let event = event(clock.unix_millis(), entries_cut, &saved.sha256)?;
    let guard = [deployment.guard()];
    let done = tail.cut(&guard, &event).await.map_err(|error| not_cut(&error, &args.out))?;
    Ok(json!({
        "state": "repaired", "entries_cut": entries_cut, "size": done.seq + 1, "event_seq": done.seq,
        "saved_to": args.out.display().to_string(), "sha256": saved.sha256,
    }))
}

fn not_cut(error: &AppendError, out: &Path) -> Refused {
    let kept = format!("what was read is in {}", out.display());
    match error {
        AppendError::Contention => Refused::No(format!(
            "the chain was changed while its tail was saved ({kept}); run the command again with another --out"
        )),
        AppendError::Unavailable { maybe_written: true, .. } => Refused::Unknown(format!(
            "Redis did not answer, and whether the tail was cut is not known ({kept}); run the command again with another --out"
        )),
        other => Refused::Unknown(format!("{other}; nothing was cut ({kept})")),
    }
}

fn refuse_more(who: &str, known: u64, head: Head) -> Result<(), Refused> {
    if known <= head.size {
        return Ok(());
    }
    Err(Refused::No(format!(
        "{who} knows of {known} entries and the audit head says {}: acknowledged entries may stand behind the head; restore a backup",
        head.size
    )))
}

/// Whether no checkpoint, stored or kept elsewhere, is of more entries than the head. One that cannot be read
/// might be.
async fn nobody_knows_more(log: &AuditLog, head: Head, args: &RepairArgs) -> Result<(), Refused> {
    let stored = CheckpointStore::new(log.clone()).notes().await.map_err(unknown)?;
    for (number, text) in stored {
        let who = format!("the stored checkpoint of key {number}");
        let read = read_checkpoint(text.as_bytes());
        let (_, checkpoint) = read.map_err(|why| Refused::No(format!("{who} cannot be read: {why}")))?;
        refuse_more(&who, checkpoint.size, head)?;
    }
    for path in &args.checkpoints {
        let who = format!("the checkpoint {}", path.display());
        let text = read_note(path).map_err(unknown)?;
        let read = read_checkpoint(text.as_bytes());
        let (_, checkpoint) =
            read.map_err(|why| unknown(format!("{who} cannot be read: {why}; nothing was changed")))?;
        refuse_more(&who, checkpoint.size, head)?;
    }
    Ok(())
}

struct Saved {
    sha256: String,
}

/// Writes the tail to a new file: a line that says of what, one for each element, and one that says that it
/// is complete.
async fn save(out: &Path, now: OffsetDateTime, head: Head, tail: &mut SurplusTail) -> Result<Saved, Refused> {
    let failed = |error: io::Error| {
        let taken = error.kind() == io::ErrorKind::AlreadyExists;
        let hint = if taken { "; it is not overwritten, name another with --out" } else { "" };
        Refused::No(format!("--out {}: {error}{hint}", out.display()))
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
    // The name must last as long as what is in the file.
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(Saved { sha256 })
}

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

/// In the name of the operator's tenant, as all that the command line does to the whole deployment.
fn event(now: u64, entries_cut: u64, sha256: &str) -> Result<Event, Refused> {
    let cut = u32::try_from(entries_cut).map_err(unknown)?;
    let what = NewEvent {
        tenant: "default".to_owned(),
        actor: "cli".to_owned(),
        action: AuditAction::AuditRepaired.into(),
        resource: "audit/*".to_owned(),
        request_id: ambient::uuid_v7(now).to_string(),
        ip: None,
        details: Details::new().with("entries_cut", cut).with("saved_sha256", sha256),
    };
    Event::new(now, ambient::uuid_v7(now), ambient::entropy::random_bytes(), what).map_err(unknown)
}
