//! Writes the rows of an export chunk by chunk, so that a batch of any size takes the memory of one chunk.

use std::fmt::Write as _;
use std::ops::Range;

use bytes::Bytes;
use tag_id::{BatchNo, Minter, TagIndex};

/// Rows in a chunk, about 150 KiB.
const ROWS_PER_CHUNK: u32 = 1_000;
/// An upper bound of the bytes of a row without the prefix of its URL.
const ROW_BYTES: usize = 160;
const CSV_HEADER: &str = "index,tag_id,crockford,url\r\n";

/// The format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON object per line.
    Ndjson,
    /// A header and one record per tag, RFC 4180.
    Csv,
}

impl Format {
    /// Returns the name in requests, which is also the extension of the file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }
}

/// The rows that remain to be written.
pub(crate) struct Rows {
    minter: Minter,
    batch: BatchNo,
    left: Range<u32>,
    format: Format,
    /// The text before and after the Crockford form in the URL column, quoted and escaped for the format.
    url: (String, &'static str),
    header: bool,
}

impl Rows {
    /// Returns the rows of the tags in `range`. `url_prefix` precedes the Crockford form in each URL.
    pub(crate) fn new(
        minter: Minter,
        batch: BatchNo,
        range: Range<u32>,
        format: Format,
        url_prefix: &str,
    ) -> Self {
        let header = format == Format::Csv;
        Self { minter, batch, left: range, format, url: around_url(format, url_prefix), header }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.left.is_empty()
    }

    /// Returns the number of bytes that remain to be written. Rows differ in length only by the digits of
    /// their index.
    pub(crate) fn length(&self) -> u64 {
        let header = if self.header { CSV_HEADER.len() } else { 0 };
        let Range { start, end } = self.left;
        if start >= end {
            return header as u64;
        }
        let mut first = String::new();
        self.write_row(&mut first, start);
        let rest = first.len() as u64 - digits(start);
        let rows = u64::from(end - start);
        header as u64 + rows * rest + digits_below(end) - digits_below(start)
    }

    /// Returns the next chunk, which is empty after the last row.
    pub(crate) fn next_chunk(&mut self) -> Bytes {
        let end = self.left.start.saturating_add(ROWS_PER_CHUNK).min(self.left.end);
        let rows = self.left.start..end;
        self.left.start = end;
        let mut text = String::with_capacity(rows.len() * (ROW_BYTES + self.url.0.len()));
        if std::mem::take(&mut self.header) {
            text.push_str(CSV_HEADER);
        }
        for index in rows {
            self.write_row(&mut text, index);
        }
        text.into()
    }

    fn write_row(&self, text: &mut String, index: u32) {
        let place = TagIndex::new(index).expect("a batch has at most 2^24 tags");
        let id = self.minter.mint(self.batch, place);
        let crockford = id.crockford();
        let crockford = crockford.as_str();
        let (before, after) = (self.url.0.as_str(), self.url.1);
        let written = match self.format {
            Format::Ndjson => write!(
                text,
                "{{\"index\":{index},\"tag_id\":\"{id}\",\"crockford\":\"{crockford}\",\
                 \"url\":{before}{crockford}{after}}}"
            ),
            Format::Csv => write!(text, "{index},{id},{crockford},{before}{crockford}{after}"),
        };
        written.expect("writing to a String cannot fail");
        text.push_str(if self.format == Format::Csv { "\r\n" } else { "\n" });
    }
}

/// Returns the number of decimal digits of `number`.
fn digits(number: u32) -> u64 {
    u64::from(number.checked_ilog10().unwrap_or(0)) + 1
}

/// Returns the number of decimal digits of all numbers from 0 to `end` - 1 together.
fn digits_below(end: u32) -> u64 {
    let end = u64::from(end);
    // Each number has one digit, plus one for each power of ten that it reaches.
    std::iter::successors(Some(10_u64), |power| Some(power * 10))
        .take_while(|power| *power < end)
        .map(|power| end - power)
        .sum::<u64>()
        + end
}

/// Returns the text before and after the Crockford form. It is the same in every row, because a Crockford
/// form needs neither quoting nor escaping.
fn around_url(format: Format, prefix: &str) -> (String, &'static str) {
    match format {
        Format::Ndjson => {
            let quoted = serde_json::Value::from(prefix).to_string();
            (quoted.strip_suffix('"').unwrap_or(&quoted).to_owned(), "\"")
        }
        Format::Csv if prefix.contains(['"', ',', '\r', '\n']) => {
            (format!("\"{}", prefix.replace('"', "\"\"")), "\"")
        }
        Format::Csv => (prefix.to_owned(), ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tag_id::{Epoch, MasterSecret, TagKeys};

    const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn rows(range: Range<u32>, format: Format, prefix: &str) -> Rows {
        let tag_keys = TagKeys::new(Some(MasterSecret::from_hex(SECRET).unwrap()), []);
        let minter = tag_keys.minter(Epoch::MIN).unwrap();
        Rows::new(minter, BatchNo::new(0).unwrap(), range, format, prefix)
    }

    fn all(mut rows: Rows) -> (String, usize) {
        let (mut text, mut chunks) = (String::new(), 0);
        while !rows.is_done() {
            text.push_str(std::str::from_utf8(&rows.next_chunk()).unwrap());
            chunks += 1;
        }
        (text, chunks)
    }

    #[test]
    fn ndjson_rows_match_the_published_vectors() {
        let (text, _) = all(rows(0..2, Format::Ndjson, "https://v.example/t/"));
        assert_eq!(
            text,
            concat!(
                r#"{"index":0,"tag_id":"85e49ec3-de12-8001-bccf-0ce2e6986017","#,
                r#""crockford":"45WJFC7QGJG00VSKRCWBK9GR0Q","#,
                r#""url":"https://v.example/t/45WJFC7QGJG00VSKRCWBK9GR0Q"}"#,
                "\n",
                r#"{"index":1,"tag_id":"bfb10ec0-d61c-8001-be55-87a6022e06e2","#,
                r#""crockford":"5ZP47C1NGWG00VWNC7MR12W1Q2","#,
                r#""url":"https://v.example/t/5ZP47C1NGWG00VWNC7MR12W1Q2"}"#,
                "\n",
            )
        );
    }

    #[test]
    fn csv_has_one_header_and_quotes_only_where_needed() {
        let (plain, _) = all(rows(1..2, Format::Csv, "https://v.example/t/"));
        assert_eq!(
            plain,
            "index,tag_id,crockford,url\r\n1,bfb10ec0-d61c-8001-be55-87a6022e06e2,5ZP47C1NGWG00VWNC7MR12W1Q2,\
             https://v.example/t/5ZP47C1NGWG00VWNC7MR12W1Q2\r\n"
        );
        let (quoted, _) = all(rows(0..1, Format::Csv, "https://v.example/a,b\"c/t/"));
        let line = quoted.lines().nth(1).unwrap();
        assert!(line.ends_with(",\"https://v.example/a,b\"\"c/t/45WJFC7QGJG00VSKRCWBK9GR0Q\""), "{line}");
    }

    #[test]
    fn json_escapes_the_url_prefix() {
        let (text, _) = all(rows(0..1, Format::Ndjson, "https://v.example/a\"b\\/t/"));
        let row: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(row["url"], "https://v.example/a\"b\\/t/45WJFC7QGJG00VSKRCWBK9GR0Q");
    }

    #[test]
    fn the_length_is_known_before_the_first_row() {
        let ranges = [
            0..1,
            9..10,
            10..11,
            0..10,
            0..11,
            7..1_234,
            99..101,
            999_995..1_000_003,
            16_777_210..16_777_216,
        ];
        for range in ranges {
            for format in [Format::Ndjson, Format::Csv] {
                for prefix in ["https://v.example/t/", "https://v.example/a,b\"c\\/t/"] {
                    let known = rows(range.clone(), format, prefix).length();
                    let (text, _) = all(rows(range.clone(), format, prefix));
                    assert_eq!(known, text.len() as u64, "{range:?} {format:?} {prefix}");
                }
            }
        }
        let mut begun = rows(0..1_500, Format::Csv, "u/");
        let (whole, first) = (begun.length(), begun.next_chunk().len() as u64);
        assert_eq!(begun.length(), whole - first);
        begun.next_chunk();
        assert_eq!(begun.length(), 0);
    }

    #[test]
    fn chunks_are_bounded_and_lose_no_row() {
        let (text, chunks) = all(rows(500..3_501, Format::Ndjson, "https://v.example/t/"));
        assert_eq!(chunks, 4);
        let indexes: Vec<u64> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["index"].as_u64().unwrap())
            .collect();
        assert_eq!(indexes, (500..3_501).collect::<Vec<_>>());
        let mut rows = rows(0..5_000, Format::Csv, "https://v.example/t/");
        assert!(rows.next_chunk().len() < 256 * 1024);
    }

    #[test]
    fn the_last_tag_of_the_largest_batch_is_written() {
        let (text, _) = all(rows(16_777_215..16_777_216, Format::Csv, "u/"));
        assert!(text.lines().nth(1).unwrap().starts_with("16777215,"));
    }
}
