//! `audit …`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::call::{self, Call, Failure, Session, body};
use crate::cli::exit_code::{BROKEN, NOT_CHECKED};
use crate::cli::repair::{RepairArgs, repair};

/// `audit …`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Verifies chain and signatures. Exits 0 if all is right and 1 if something is broken. Exits 2 if the
    /// result is undetermined: a cut export, a checkpoint that cannot be read, or no signature by a trusted
    /// key.
    Verify(VerifyArgs),
    /// Shows the size of the chain and its last hash.
    Head,
    /// Removes what a broken write left behind the head, and saves it to a file. Exits 0 if the chain can be
    /// appended to, 1 if the repair was rejected and nothing was changed, and 2 if the state could not be
    /// determined.
    Repair(RepairArgs),
    /// Writes the whole chain as NDJSON, for `audit verify --file`.
    Export {
        /// The file to write, which must not exist. The default is standard output.
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

/// The options of `audit verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// An exported file to verify instead of the chain in Redis. It needs no settings and no Redis.
    #[arg(long)]
    pub(super) file: Option<PathBuf>,
    /// A trusted verifier key, `<origin>+<hash>+<base64>`. The option may be repeated.
    #[arg(long = "key", requires = "file")]
    pub(super) keys: Vec<String>,
    /// A file with the output of `keyring list`: the public keys, and which of them are revoked.
    #[arg(long, requires = "file")]
    pub(super) keyring: Option<PathBuf>,
    /// A file with a checkpoint that was kept elsewhere (`GET /v1/audit/checkpoint`). The chain must match
    /// it. The option may be repeated.
    #[arg(long = "checkpoint")]
    pub(super) checkpoints: Vec<PathBuf>,
    /// States that the chain of the file was never signed, so that only its entries are verified. Without
    /// this statement, a file that no key of yours has signed is undetermined (2), because the author of a
    /// rewritten file would leave the signatures out.
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
