//! The HTTP figures: constant JSON, the floor, a scan, one with a partner key, a denied scan, a forged id; each pressed for the same time, one
//! after the other, round after round.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use ambient::{Clock, SystemClock};

use super::figures::{Bar, Figure, Unit};
use super::fleet::{Fleet, FleetBatch, FleetServer};
use crate::error::BenchError;
use crate::http::{self, HttpRequest};
use crate::load::{self, LoadPlan, LoadReport, Stop};

/// As the bars say.
pub(super) const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");
const MANY_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(150).expect("not zero");
/// Tags that are scanned in turn.
pub(super) const TAGS: u32 = 100_000;
/// Callers: of admitted scans many, of denied ones few, so that nearly every request finds its quota spent.
const CALLERS: u32 = 10_000;
pub(super) const DENIED_CALLERS: u32 = 4;
/// Before each figure, not counted.
const WARM_UP: Duration = Duration::from_millis(250);
/// The share of answers with another status that does not spoil a figure; each is told.
const STRAY: f64 = 0.01;
/// An open breaker waits at most 12 s.
const RECOVERS_WITHIN: Duration = Duration::from_secs(30);
const REFRESH_EVERY: Duration = Duration::from_millis(250);

/// One thing that is pressed, and what it gave so far.
pub(super) struct Press {
    name: &'static str,
    plan: LoadPlan,
    status: u16,
    reports: Vec<LoadReport>,
}

impl Press {
    pub(super) fn new(
        name: &'static str,
        address: SocketAddr,
        path: &str,
        connections: NonZeroUsize,
        status: u16,
    ) -> Result<Self, BenchError> {
        Self::with_headers(name, address, path, connections, status, &[])
    }

    pub(super) fn with_headers(
        name: &'static str,
        address: SocketAddr,
        path: &str,
        connections: NonZeroUsize,
        status: u16,
        headers: &[String],
    ) -> Result<Self, BenchError> {
        let plan = LoadPlan::new(&format!("http://{address}{path}"), connections, Stop::After(WARM_UP))?;
        let plan = plan.with_headers(headers)?.with_addresses(CALLERS)?;
        Ok(Self { name, plan, status, reports: Vec::new() })
    }

    pub(super) fn of(mut self, tags: &[String]) -> Result<Self, BenchError> {
        self.plan = self.plan.with_segments(tags)?;
        Ok(self)
    }

    /// Sends as that many callers in turn.
    pub(super) fn from(mut self, callers: u32) -> Result<Self, BenchError> {
        self.plan = self.plan.with_addresses(callers)?;
        Ok(self)
    }

    /// Presses for that long. A run that was spoiled is told and made once more; twice is no accident.
    pub(super) async fn round(&mut self, time: Duration, doubts: &mut Vec<String>) -> Result<(), BenchError> {
        if let Err(spoiled) = self.once(time, doubts).await {
            doubts.push(format!("{spoiled}\n  pressed once more"));
            self.recovered().await?;
            self.once(time, doubts).await?;
        }
        Ok(())
    }

    async fn once(&mut self, time: Duration, doubts: &mut Vec<String>) -> Result<(), BenchError> {
        self.press(Stop::After(WARM_UP)).await?;
        let report = self.press(Stop::After(time)).await?;
        let strays = report.requests - report.count(self.status) + report.errors;
        if report.requests == 0
            || strays as f64 > report.requests as f64 * STRAY
            || report.missing_retry_after > 0
        {
            let (name, status) = (self.name, self.status);
            return Err(BenchError::Unexpected(format!(
                "{name}: {status} was expected, and this came:\n{report}"
            )));
        }
        if strays > 0 {
            doubts.push(format!(
                "{}: of {} answers {strays} were not {}",
                self.name, report.requests, self.status
            ));
        }
        self.reports.push(report);
        Ok(())
    }

    /// Waits until a breaker that has opened lets calls through again.
    async fn recovered(&mut self) -> Result<(), BenchError> {
        let clock = SystemClock::new();
        while clock.monotonic() < RECOVERS_WITHIN {
            if self.press(Stop::Requests(CONNECTIONS.get() as u64)).await?.errors == 0
                && self.press(Stop::Requests(1)).await?.count(self.status) == 1
            {
                return Ok(());
            }
            tokio::time::sleep(REFRESH_EVERY).await;
        }
        Err(BenchError::Unexpected(format!("{}: it does not recover", self.name)))
    }

    async fn press(&mut self, stop: Stop) -> Result<LoadReport, BenchError> {
        self.plan.stop = stop;
        let report = load::press(self.plan.clone()).await?;
        // The next run goes on with the tags after these.
        self.plan.first += report.requests;
        Ok(report)
    }

    pub(super) fn name(&self) -> &str {
        self.name
    }

    pub(super) fn rates(&self) -> Vec<f64> {
        self.reports.iter().map(|report| report.rps).collect()
    }

    fn p99s(&self) -> Vec<f64> {
        self.reports.iter().map(|report| report.p99_ms).collect()
    }
}

/// All presses of a round, in their order.
pub(super) struct Scanning {
    _yardstick: FleetServer,
    constant: Press,
    forged: Press,
    floor: Press,
    scan: Press,
    partner: Press,
    denied: Press,
    floor_of_many: Press,
    scan_of_many: Press,
}

impl Scanning {
    /// Scans tags of `batch`, and forgeries of them.
    ///
    /// # Errors
    /// When the services refuse to prepare it.
    pub(super) async fn prepare(fleet: &Fleet, batch: &FleetBatch) -> Result<Self, BenchError> {
        let tags = fleet.export(&batch.id, 0, TAGS).await?;
        let forged: Vec<String> = tags.iter().map(|tag| forgery(tag)).collect();
        let (scan, limited) = (fleet.scan.address, fleet.limited_scan.address);
        let path = format!("/v1/scan/{}", tags[0]);
        let answer = http::ask(scan, HttpRequest::get(&path)).await?;
        answer.json(200)?;
        let yardstick = fleet.start_yardstick(answer.body.len()).await?;
        let floor = |name, connections| Press::new(name, yardstick.address, "/ping", connections, 200);
        let scans =
            |name, address, connections, status| Press::new(name, address, "/v1/scan", connections, status);
        let denied = scans("denied scan", limited, CONNECTIONS, 429)?.of(&tags)?;
        let shown = [format!("Authorization: Bearer {}", fleet.partner_key().await?.reveal())];
        let partner =
            Press::with_headers("scan with a partner key", scan, "/v1/scan", CONNECTIONS, 200, &shown)?;
        Ok(Self {
            constant: Press::new("constant JSON", yardstick.address, "/constant", CONNECTIONS, 200)?,
            forged: scans("forged id", scan, CONNECTIONS, 404)?.of(&forged)?,
            floor: floor("floor", CONNECTIONS)?,
            scan: scans("scan", scan, CONNECTIONS, 200)?.of(&tags)?,
            partner: partner.of(&tags)?,
            denied: denied.from(DENIED_CALLERS)?,
            floor_of_many: floor("floor, 150 connections", MANY_CONNECTIONS)?,
            scan_of_many: scans("scan, 150 connections", scan, MANY_CONNECTIONS, 200)?.of(&tags)?,
            _yardstick: yardstick,
        })
    }

    /// Presses each for that long; what was odd and did not spoil a figure goes to `doubts`.
    ///
    /// # Errors
    /// When one answers otherwise than it must.
    pub(super) async fn round(&mut self, time: Duration, doubts: &mut Vec<String>) -> Result<(), BenchError> {
        let all = [
            &mut self.constant,
            &mut self.forged,
            &mut self.floor,
            &mut self.scan,
            &mut self.partner,
            &mut self.denied,
            &mut self.floor_of_many,
            &mut self.scan_of_many,
        ];
        for press in all {
            press.round(time, doubts).await?;
        }
        Ok(())
    }

    pub(super) fn figures(&self) -> Vec<Figure> {
        let rate = |press: &Press| {
            Figure::new(format!("{}, 64 connections", press.name), Unit::PerSecond, press.rates())
        };
        let floor = || self.floor.rates();
        vec![
            rate(&self.constant),
            rate(&self.floor).beside("constant JSON", Unit::PerSecond, self.constant.rates()),
            rate(&self.scan).beside("floor", Unit::PerSecond, floor()).bar(Bar::RatioAtLeast(0.5)),
            rate(&self.partner)
                .beside("admitted scan", Unit::PerSecond, self.scan.rates())
                .bar(Bar::RatioAtLeast(0.9)),
            rate(&self.denied)
                .beside("forged id", Unit::PerSecond, self.forged.rates())
                .bar(Bar::RatioAtLeast(0.95)),
            rate(&self.forged)
                .beside("constant JSON", Unit::PerSecond, self.constant.rates())
                .bar(Bar::RatioAtLeast(0.85)),
            Figure::new("p99 of a scan, 150 connections", Unit::Millis, self.scan_of_many.p99s())
                .beside("the floor's p99", Unit::Millis, self.floor_of_many.p99s())
                .bar(Bar::RatioAtMost(3.0)),
        ]
    }
}

/// The same id with another last digit: well-formed, and not authentic.
pub(super) fn forgery(tag: &str) -> String {
    let (rest, last) = tag.split_at(tag.len() - 1);
    format!("{rest}{}", if last == "0" { "1" } else { "0" })
}
