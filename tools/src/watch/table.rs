//! The table of the senders that is shown while it goes on, as wide as there is room.

use std::cmp::Reverse;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::tally::{Group, Groups, Tally, loss};
use crate::{
    distribution::Distribution,
    units::{Nanoseconds, Percent},
};

/// How much room there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Room {
    pub(super) columns: usize,
    /// For senders.
    pub(super) rows: usize,
}

impl Room {
    pub(super) const UNBOUNDED: Self = Self { columns: usize::MAX, rows: usize::MAX };
}

const SENDER: &str = "SENDER";
/// The heads of the columns behind the names.
const HEADS: [&str; 7] = ["REQUESTS", "ANSWERED", "LOST", "NET p50", "NET p99", "TX p50", "RX p50"];
/// Their numbers, in the order in which there is to be room for them.
const BY_IMPORTANCE: [usize; 7] = [3, 2, 0, 4, 5, 6, 1];
/// As wide they are at least, so that they stay where they are: for most times, and shares.
const LEAST: [usize; 7] = [8, 8, 8, 9, 9, 9, 9];
/// So much of a name there is before there are other columns: the short number of a container.
const LEAST_OF_NAME: usize = 12;

/// The lines of the table, the busiest senders first.
pub(super) fn table(groups: &Groups, names: &mut impl FnMut(Group) -> String, room: Room) -> Vec<String> {
    let mut all: Vec<_> = groups.iter().collect();
    all.sort_by_key(|(group, sent, _)| (Reverse(*sent), *group));
    let left_out = all.len().saturating_sub(room.rows);
    all.truncate(room.rows);
    let head = (SENDER.to_owned(), HEADS.map(str::to_owned));
    let rows = all.into_iter().map(|(group, sent, tally)| (names(group), cells(sent, tally)));
    let rows: Vec<(String, [String; 7])> = std::iter::once(head).chain(rows).collect();

    let width =
        |column: usize| rows.iter().map(|(_, cells)| cells[column].len()).max().unwrap_or_default().max(LEAST[column]);
    let widths: [usize; 7] = std::array::from_fn(width);
    let longest = rows.iter().map(|(name, _)| name.width()).max().unwrap_or_default();
    let mut left = room.columns.saturating_sub(longest.min(LEAST_OF_NAME));
    let mut shown = [false; 7];
    for column in BY_IMPORTANCE {
        match left.checked_sub(1 + widths[column]) {
            Some(rest) => (shown[column], left) = (true, rest),
            None => break,
        }
    }
    let name_width = longest.min(LEAST_OF_NAME.saturating_add(left)).min(room.columns);
    let line = |(name, cells): &(String, [String; 7])| {
        let name = cut(name, name_width);
        let mut line = format!("{name}{:1$}", "", name_width - name.width());
        for column in (0..cells.len()).filter(|column| shown[*column]) {
            line.push_str(&format!(" {:>1$}", cells[column], widths[column]));
        }
        line
    };
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    if left_out > 0 {
        lines.push(cut(&format!("... and {left_out} more"), room.columns));
    }
    lines
}

fn cells(sent: u64, tally: Option<&Tally>) -> [String; 7] {
    let answered = tally.map_or(0, |tally| tally.answered);
    let lost = loss(sent, answered).map_or_else(String::new, |loss| Percent(loss).to_string());
    let of = |part: fn(&Tally) -> &Distribution| tally.and_then(|tally| part(tally).statistics());
    let shown = |time: Option<i64>| time.map_or_else(|| "-".to_owned(), |ns| Nanoseconds(ns).to_string());
    let net = of(|tally| &tally.net);
    let [tx, rx] =
        [of(|tally| &tally.tx_host), of(|tally| &tally.rx_host)].map(|part| shown(part.map(|part| part.p50)));
    let [p50, p99] = [net.map(|net| net.p50), net.map(|net| net.p99)].map(shown);
    [sent.to_string(), answered.to_string(), lost, p50, p99, tx, rx]
}

/// As much of a text as there is room for.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut left = width.saturating_sub(1);
    for character in text.chars() {
        match left.checked_sub(character.width().unwrap_or_default()) {
            Some(rest) => left = rest,
            None => break,
        }
        cut.push(character);
    }
    if width > 0 {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::samples::{self, group_name};

    fn shown(columns: usize) -> String {
        table(&samples::groups(), &mut group_name, Room { columns, ..Room::UNBOUNDED }).join("\n")
    }

    #[test]
    fn the_busiest_are_first() {
        insta::assert_snapshot!(shown(usize::MAX), @"
        SENDER REQUESTS ANSWERED     LOST   NET p50   NET p99    TX p50    RX p50
        c1            3        3       0%  11.342us  11.342us  20.100us  10.707us
        host          2        1      50%  11.342us  11.342us         -         -
        ");
        let room = Room { rows: 1, ..Room::UNBOUNDED };
        let lines = table(&samples::groups(), &mut group_name, room);
        assert_eq!(lines.last().map(String::as_str), Some("... and 1 more"));
    }

    #[test]
    fn where_there_is_no_room_for_all_the_most_important_stay() {
        insta::assert_snapshot!(shown(40), @"
        SENDER REQUESTS     LOST   NET p50
        c1            3       0%  11.342us
        host          2      50%  11.342us
        ");
        insta::assert_snapshot!(shown(20), @"
        SENDER   NET p50
        c1      11.342us
        host    11.342us
        ");
    }

    #[test]
    fn no_line_is_longer_than_there_is_room() {
        let mut names = |group| match group {
            Group::Namespace { inode: 4_026_532_001, .. } => "a-name-that-somebody-has-found-rather-telling".to_owned(),
            Group::Namespace { .. } | Group::Forwarded => "長い名前のコンテナ長い名前のコンテナ".to_owned(),
        };
        for columns in 0..140 {
            let lines = table(&samples::groups(), &mut names, Room { columns, rows: 1 });
            assert!(lines.iter().all(|line| line.width() <= columns), "{columns}: {lines:?}");
        }
        let lines = table(&samples::groups(), &mut names, Room { columns: 80, rows: 2 });
        assert!(lines[0].contains("RX p50") && lines[1].starts_with("a-na"), "all columns: {lines:?}");
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(["abc", "abcd", "長い名前"].map(|text| cut(text, 3)), ["abc", "ab…", "長…"]);
        assert_eq!(cut("abc", 0), "");
    }
}
