//! What the durable Redis of both services stores: the deployment record, products, batches, tag states.
//!
//! - [`DeploymentGate`] tells a lost or foreign Redis from a new, empty one.
//! - [`Catalog`] reads products, batches and tags. The `audit-chain` crate writes changes, each with its
//!   event.
//! - [`TagState`] parses the stored state of a tag, which the scan-service's script writes.
//! - [`Minted`] tells a batch whose record was lost from one that was never minted.
//!
//! Reads fail with [`CatalogError`], the gate with [`DeploymentError`]. A damaged record is an error, never
//! an empty result. Redis keys are in [`keys`], stored bytes in [`records`], the required Redis settings in
//! [`policy`].

mod batch_no;
pub mod deployment;
mod deployment_record;
mod error;
pub mod keys;
pub mod minted;
pub mod policy;
pub mod records;
pub mod store;
pub mod tag_state;
pub mod unproven;

pub use deployment::{DeploymentGate, Expectation, Init};
pub use deployment_record::{Deployment, StoredDeployment};
pub use error::DeploymentError;
pub use minted::Minted;
pub use policy::StoragePolicy;
pub use records::{Batch, CatalogRecordError, Lifecycle, Product, Record, StoredRecord, Withdrawal};
pub use store::{Catalog, CatalogError, CatalogPage};
pub use tag_state::{REVOKED_FLAG, TagState};
pub use unproven::{UnprovenReport, add_unproven_report, shortened_code};
