//! `audit …`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::call::{self, Call, Failure, Session};
use crate::cli::repair::{RepairArgs, repair};
use crate::cli::{BROKEN, NOT_CHECKED, body};

/// `audit …`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Verifies chain and signatures: exits 0 when all is well, 1 when it is broken, 2 when it could not be checked: an export that
    /// was cut, a checkpoint that cannot be read, no signature by a key that is trusted.
    Verify(VerifyArgs),
    /// Tells where the chain ends.
    Head,
    /// Takes away what a broken write left behind the head, and keeps it in a file. Exits 0 when the chain can be appended to, 1 when
    /// the repair is refused and nothing was changed, 2 when it could not be found out.
    Repair(RepairArgs),
    /// Writes the whole chain as NDJSON, for `audit verify --file`.
    Export {
        /// Standard output unless given. The file must not exist.
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

/// What to verify.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// An exported file instead of the chain in Redis; then nothing else is asked, and no settings are needed.
    #[arg(long)]
    pub(super) file: Option<PathBuf>,
    /// A verifier key, `<origin>+<hash>+<base64>`; may be given several times.
    #[arg(long = "key", requires = "file")]
    pub(super) keys: Vec<String>,
    /// The output of `keyring list`: the public keys and which of them are revoked.
    #[arg(long, requires = "file")]
    pub(super) keyring: Option<PathBuf>,
    /// A checkpoint that was kept elsewhere (`GET /v1/audit/checkpoint`): the chain must be the one that it speaks of. Several may be given.
    #[arg(long = "checkpoint")]
    pub(super) checkpoints: Vec<PathBuf>,
    /// The chain of the file was never signed, and its entries are all there is to verify: without this word of yours a file that no
    /// key of yours has signed is not verified (2), since whoever wrote it anew would leave the signatures out.
    #[arg(long, requires = "file", conflicts_with_all = ["keys", "keyring"])]
    pub(super) never_signed: bool,
}

impl AuditCommand {
    pub(super) async fn ask(self, session: &Session) -> Result<ExitCode, Failure> {
        match self {
            Self::Head => session.print(&Call::get("/v1/audit/head")).await?,
            Self::Verify(VerifyArgs { checkpoints, .. }) => return verify(session, &checkpoints).await,
            Self::Repair(args) => return repair(session, args).await,
            Self::Export { out } => {
                session.save(&Call::get("/v1/admin/audit/export"), out.as_deref()).await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn verify(session: &Session, checkpoints: &[PathBuf]) -> Result<ExitCode, Failure> {
    let kept = checkpoints.iter().map(|path| call::read_note(path));
    let kept = kept.collect::<Result<Vec<String>, Failure>>()?;
    let body = body([("checkpoints", (!kept.is_empty()).then(|| json!(kept)))]);
    let report = session.ask(&Call::post("/v1/audit/verify", body)).await?;
    call::show(&report);
    let code = match report["state"].as_str() {
        Some("valid" | "never_signed") => 0,
        Some("signed_by_revoked_key" | "unsigned" | "unsigned_tail" | "unreadable_checkpoint") => NOT_CHECKED,
        _ => BROKEN,
    };
    Ok(ExitCode::from(code))
}
