//! Tests of factory-service as a client sees it. Each test starts a private Redis.

#![allow(clippy::unwrap_used, reason = "a panic fails the test, as it should")]

mod api_keys;
mod audit;
mod audit_export;
mod auth;
mod batches;
mod brands;
mod chain_damage;
mod checkpoints;
mod cli;
mod compose;
mod crashes;
mod deployment;
mod examples;
mod expiring_keys;
mod export;
mod failover;
mod free_text;
mod idempotency;
mod isolation;
mod key_dates;
mod keyring;
mod lost_records;
mod malformed;
mod metrics;
mod openapi;
mod outages;
mod process;
mod products;
mod query_parameters;
mod quotas;
mod rate_limits;
mod refused_writes;
mod repair;
mod restore;
mod slow_handler;
mod support;
mod tags;
mod tenants;
mod traces;
mod unproven_reports;
mod versions;
