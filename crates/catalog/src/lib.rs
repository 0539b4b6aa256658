//! What both services know about the durable Redis: the deployment record, products, batches, and the state of each tag.
//!
//! Keys are in [`keys`], stored bytes in [`records`] and [`tag_state`], the Lua that counts a scan in `lua/tag_scan.lua`.
//! Reading goes through [`store`]; changes are effects that travel with their audit event (see the `audit-chain` crate).

mod batch_no;
pub mod deployment;
mod deployment_record;
pub mod keys;
pub mod minted;
pub mod policy;
pub mod records;
pub mod store;
pub mod tag_state;
pub mod unproven;

pub use deployment::{Deployment, DeploymentError, DeploymentGate, Expectation, Init};
pub use deployment_record::StoredDeployment;
pub use minted::Minted;
pub use policy::StoragePolicy;
pub use records::{Batch, CatalogRecordError, Lifecycle, Product, Record, StoredRecord, Withdrawal};
pub use store::{Catalog, CatalogError, CatalogPage};
pub use tag_state::{REVOKED_FLAG, SCAN_LUA, TagState};
pub use unproven::{UnprovenReport, add_unproven_report, shortened_code};
