//! Tests of the assembled scan service. Each starts the service on a free port and a private Redis.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is how a broken assumption shows")]

mod app;
mod bad_input;
mod chain_damage;
mod cold_start;
mod compose;
mod damage;
mod denied;
mod examples;
mod failover;
mod foreign_pages;
mod forged;
mod freshness;
mod headers;
mod hostile_clients;
mod issuers;
mod key_states;
mod limiter_unavailable;
mod lost_records;
mod machines;
mod metrics;
mod operation;
mod outage;
mod pages;
mod partner_keys;
mod partner_quotas;
mod partners;
mod process;
mod proxies;
mod query_parameters;
mod quota;
mod refused_writes;
mod reports;
mod saturation;
mod scan;
mod shop;
mod state_loss;
mod tls;
mod traces;
mod unproven_reports;
