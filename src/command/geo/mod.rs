//! Geo indexes: sorted sets whose scores are places. `base/geo.rs` knows the globe.

use crate::base::geo::Point;
use crate::base::long_double::LongDouble;
use crate::base::number::{format_u64, parse_f64};
use crate::resp::request::Args;
use crate::resp::{ErrorReply, Reply};

use super::spec::{Argument, Command};

mod index;
mod radius;
mod search;

#[cfg(test)]
mod tests;

pub(super) const COMMANDS: &[Command] = &[
    index::GEOADD,
    index::GEODIST,
    index::GEOHASH,
    index::GEOPOS,
    radius::GEORADIUS,
    radius::GEORADIUSBYMEMBER,
    radius::GEORADIUSBYMEMBER_RO,
    radius::GEORADIUS_RO,
    search::GEOSEARCH,
    search::GEOSEARCHSTORE,
];

const UNIT: Argument = Argument::one_of(
    "unit",
    &[
        Argument::word("m", "M"),
        Argument::word("km", "KM"),
        Argument::word("ft", "FT"),
        Argument::word("mi", "MI"),
    ],
);

const ORDER: Argument = Argument::one_of(
    "order",
    &[Argument::word("asc", "ASC"), Argument::word("desc", "DESC")],
)
.optional();

const COUNT: Argument = Argument::integer("count").token("COUNT");

const ANY: Argument = Argument::word("any", "ANY").optional();

/// Metres of a unit.
fn unit_metres(word: &[u8]) -> Result<f64, ErrorReply> {
    match word.to_ascii_lowercase().as_slice() {
        b"m" => Ok(1.0),
        b"km" => Ok(1000.0),
        b"ft" => Ok(0.3048),
        b"mi" => Ok(1609.34),
        _ => Err(ErrorReply::GEO_UNIT),
    }
}

/// Longitude and latitude, from argument `at` on.
fn point(args: &Args<'_>, at: usize) -> Result<Point, ErrorReply> {
    let degrees = |at| parse_f64(args.get(at)).ok_or(ErrorReply::NOT_FLOAT);
    let point = Point {
        longitude: degrees(at)?,
        latitude: degrees(at + 1)?,
    };
    if point.is_valid() {
        Ok(point)
    } else {
        Err(ErrorReply::geo_point(point.longitude, point.latitude))
    }
}

/// A distance with four digits behind the point, as text in both versions of the protocol.
fn reply_distance(reply: &mut Reply<'_>, distance: f64) {
    let units = (distance * 10_000.0).round_ties_even() as u64;
    let mut text = format_u64(units / 10_000).to_vec();
    let fraction = format_u64(10_000 + units % 10_000);
    text.push(b'.');
    text.extend_from_slice(&fraction[1..]);
    reply.bulk(&text);
}

/// Longitude and latitude, each with up to 17 digits behind the point.
fn reply_point(reply: &mut Reply<'_>, point: Point) {
    reply.array(2);
    for degrees in [point.longitude, point.latitude] {
        let text = LongDouble::from_f64(degrees)
            .expect("a coordinate is a number")
            .to_text();
        reply.double_text(&text);
    }
}
