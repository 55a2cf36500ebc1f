//! Points on the globe as integers of 52 bits, distances between them, and the cells that cover an area.
//!
//! Longitude and latitude are each cut into 2^26 steps, and the bits of both are interleaved, a longitude bit first. So
//! points with a common prefix lie in one cell, and a cell is a range of integers. An area is searched by cells of the
//! size that lets the one in its middle and its eight neighbours cover it.
//!
//! Clients see the last digit of each coordinate and distance, so the floating-point steps follow Redis's in kind and
//! order. Latitudes end at 85.05 degrees, as in the maps of the web.

use smallvec::SmallVec;

/// Longitudes are within plus and minus so many degrees.
pub const LONGITUDE_MAX: f64 = 180.0;
/// Latitudes are within plus and minus so many degrees.
pub const LATITUDE_MAX: f64 = 85.05112878;

/// Halvings of each coordinate.
const STEPS_MAX: u32 = 26;
const EARTH_RADIUS_METRES: f64 = 6372797.560856;
/// Half of the equator in the Mercator projection, in metres: the size of the largest cell's half.
const MERCATOR_MAX: f64 = 20037726.37;
/// Far more than what rounding can add to a distance, as a part of it.
const MARGIN: f64 = 1e-9;
const RADIANS_PER_DEGREE: f64 = std::f64::consts::PI / 180.0;

/// A place, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// East is positive.
    pub longitude: f64,
    /// North is positive.
    pub latitude: f64,
}

/// The extent of both coordinates.
#[derive(Clone, Copy)]
struct Frame {
    longitude_max: f64,
    latitude_max: f64,
}

const WEB: Frame = Frame {
    longitude_max: LONGITUDE_MAX,
    latitude_max: LATITUDE_MAX,
};

/// What geohash strings are made with.
const WHOLE: Frame = Frame {
    longitude_max: 180.0,
    latitude_max: 90.0,
};

impl Point {
    /// Whether it can be indexed.
    pub fn is_valid(self) -> bool {
        self.longitude.abs() <= LONGITUDE_MAX && self.latitude.abs() <= LATITUDE_MAX
    }

    /// The point as the score of a geo index.
    pub fn score(self) -> f64 {
        Cell::around(self, WEB, STEPS_MAX).bits() as f64
    }

    /// The middle of the smallest cell that a score stands for. Any score gives a valid point.
    pub fn of_score(score: f64) -> Point {
        let area = Cell::of_bits(score_bits(score)).area();
        Point {
            longitude: ((area.west + area.east) / 2.0).clamp(-LONGITUDE_MAX, LONGITUDE_MAX),
            latitude: ((area.south + area.north) / 2.0).clamp(-LATITUDE_MAX, LATITUDE_MAX),
        }
    }

    /// The geohash as it is written elsewhere: eleven characters, of which the last is always `0` as 52 bits make ten.
    pub fn text(self) -> [u8; 11] {
        const DIGITS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let bits = Cell::around(self, WHOLE, STEPS_MAX).bits();
        let mut text = [b'0'; 11];
        for (at, digit) in text[..10].iter_mut().enumerate() {
            *digit = DIGITS[(bits >> (47 - 5 * at)) as usize & 31];
        }
        text
    }

    /// Metres to another point, along a great circle (haversine).
    pub fn distance(self, other: Point) -> f64 {
        Origin::new(self).distance(other)
    }
}

fn radians(degrees: f64) -> f64 {
    degrees * RADIANS_PER_DEGREE
}

/// A point from which many distances are measured.
#[derive(Clone, Copy, Debug)]
struct Origin {
    point: Point,
    longitude: f64,
    latitude: f64,
    cosine: f64,
}

impl Origin {
    fn new(point: Point) -> Origin {
        Origin {
            point,
            longitude: radians(point.longitude),
            latitude: radians(point.latitude),
            cosine: radians(point.latitude).cos(),
        }
    }

    fn distance(&self, other: Point) -> f64 {
        let v = ((radians(other.longitude) - self.longitude) / 2.0).sin();
        if v == 0.0 {
            return meridian_distance(self.point.latitude, other.latitude);
        }
        let to = radians(other.latitude);
        let u = ((to - self.latitude) / 2.0).sin();
        let a = u * u + self.cosine * to.cos() * v * v;
        2.0 * EARTH_RADIUS_METRES * a.sqrt().asin()
    }
}

/// Metres between two latitudes.
fn meridian_distance(one: f64, other: f64) -> f64 {
    EARTH_RADIUS_METRES * (other * RADIANS_PER_DEGREE - one * RADIANS_PER_DEGREE).abs()
}

/// A score as the integer that C makes of it: anybody can ZADD what is no geohash.
fn score_bits(score: f64) -> u64 {
    const HALF: f64 = (1_u64 << 63) as f64;
    match score {
        _ if score < HALF => score as i64 as u64,
        _ if score < 2.0 * HALF => (score - HALF) as u64 | 1 << 63,
        _ => 0,
    }
}

/// A rectangle whose sides are 2^-steps of the frame's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    longitude: u32,
    latitude: u32,
    steps: u32,
}

/// The edges of a cell, in degrees.
struct Area {
    west: f64,
    east: f64,
    south: f64,
    north: f64,
}

impl Cell {
    fn around(point: Point, frame: Frame, steps: u32) -> Cell {
        let part = |at: f64, max: f64| {
            let offset = (at + max) / (max + max);
            (offset * (1_u64 << steps) as f64) as u32
        };
        Cell {
            longitude: part(point.longitude, frame.longitude_max),
            latitude: part(point.latitude, frame.latitude_max),
            steps,
        }
    }

    fn of_bits(bits: u64) -> Cell {
        Cell {
            longitude: gather(bits >> 1),
            latitude: gather(bits),
            steps: STEPS_MAX,
        }
    }

    fn bits(self) -> u64 {
        spread(self.latitude) | spread(self.longitude) << 1
    }

    /// The scores of the points in it: from the first to below the second.
    fn scores(self) -> (f64, f64) {
        let shift = 52 - 2 * self.steps;
        (
            (self.bits() << shift) as f64,
            ((self.bits() + 1) << shift) as f64,
        )
    }

    fn area(self) -> Area {
        let edge = |at: f64, max: f64| -max + at * 1.0 / (1_u64 << self.steps) as f64 * (max + max);
        let (x, y) = (f64::from(self.longitude), f64::from(self.latitude));
        // C adds one to 32 bits, which wraps where a score was no geohash.
        let (x_next, y_next) = (
            self.longitude.wrapping_add(1),
            self.latitude.wrapping_add(1),
        );
        Area {
            west: edge(x, LONGITUDE_MAX),
            east: edge(f64::from(x_next), LONGITUDE_MAX),
            south: edge(y, LATITUDE_MAX),
            north: edge(f64::from(y_next), LATITUDE_MAX),
        }
    }

    /// The cell so many cells to the east and to the north, round the globe.
    fn neighbour(self, east: i32, north: i32) -> Cell {
        let moved = |at: u32, by: i32| match by {
            0 => at,
            _ => at.wrapping_add_signed(by) & ((1 << self.steps) - 1),
        };
        Cell {
            longitude: moved(self.longitude, east),
            latitude: moved(self.latitude, north),
            steps: self.steps,
        }
    }
}

/// Puts a zero between any two bits.
fn spread(bits: u32) -> u64 {
    let mut wide = u64::from(bits);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        wide = (wide | wide << shift) & mask;
    }
    wide
}

/// Takes every other bit: the inverse of `spread`.
fn gather(bits: u64) -> u32 {
    let mut narrow = bits & 0x5555_5555_5555_5555;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        narrow = (narrow | narrow >> shift) & mask;
    }
    narrow as u32
}

/// What is searched around a point. Lengths are in the client's unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Extent {
    /// All within a distance.
    Circle {
        /// The distance.
        radius: f64,
    },
    /// All within half of the width to the east and west, and half of the height to the north and south.
    Box {
        /// East to west.
        width: f64,
        /// North to south.
        height: f64,
    },
}

/// An area to be searched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Its middle.
    pub center: Point,
    /// Its form and size.
    pub extent: Extent,
    /// Metres of one unit of length.
    pub unit_metres: f64,
}

/// What tells that a point lies outside of a circle without trigonometry.
#[derive(Clone, Copy, Debug)]
struct Far {
    /// The square of the sine of half of the circle's angle, and a little more.
    square: f64,
    /// The product of the centre's cosine and the smallest one within the circle.
    cosines: f64,
}

impl Far {
    /// Half of the differences of longitude and latitude at most, in radians: here a sine is near to its argument, and no
    /// distance comes near to that of antipodes, where rounding makes no number of it.
    const HALF_MAX: f64 = 0.5;

    /// Whether a point is certainly outside, by half of the differences in radians. Nine of ten points that are not inside
    /// are found here, by what is never more than the haversine: `x - x^3 / 6` is below the sine.
    #[inline]
    fn holds(&self, longitude: f64, latitude: f64) -> bool {
        let (x, y) = (longitude.abs(), latitude.abs());
        if x > Self::HALF_MAX || y > Self::HALF_MAX {
            return false;
        }
        let below_sine = |angle: f64| angle - angle * angle * angle / 6.0;
        let (x, y) = (below_sine(x), below_sine(y));
        y * y + self.cosines * x * x > self.square
    }
}

/// An area that is asked about many points; made by [`Shape::probe`].
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    shape: Shape,
    origin: Origin,
    far: Far,
}

impl Probe {
    /// The distance of a point from the centre in metres, when the point is inside.
    pub fn distance_inside(&self, point: Point) -> Option<f64> {
        let center = self.origin.point;
        let unit_metres = self.shape.unit_metres;
        match self.shape.extent {
            Extent::Circle { radius } => {
                let aside = (radians(point.longitude) - self.origin.longitude) / 2.0;
                let up = (radians(point.latitude) - self.origin.latitude) / 2.0;
                if self.far.holds(aside, up) {
                    return None;
                }
                let limit = radius * unit_metres;
                // The way along the meridian is never the longer one: it spares most points the trigonometry.
                let north = meridian_distance(point.latitude, center.latitude);
                if north > limit * (1.0 + MARGIN) {
                    return None;
                }
                let distance = self.origin.distance(point);
                // Rounding can make the distance of antipodes no number; Redis counts such a point as inside.
                let outside = distance > limit;
                (!outside).then_some(distance)
            }
            Extent::Box { width, height } => {
                if meridian_distance(point.latitude, center.latitude) > height * unit_metres / 2.0 {
                    return None;
                }
                let aside = Point {
                    longitude: center.longitude,
                    latitude: point.latitude,
                };
                if point.distance(aside) > width * unit_metres / 2.0 {
                    return None;
                }
                Some(self.origin.distance(point))
            }
        }
    }
}

/// Ranges of scores, from the first of a pair to below the second.
pub type ScoreRanges = SmallVec<[(f64, f64); 9]>;

impl Shape {
    /// The area, prepared for being asked about many points.
    pub fn probe(&self) -> Probe {
        let origin = Origin::new(self.center);
        let mut far = Far {
            square: f64::INFINITY,
            cosines: 0.0,
        };
        if let Extent::Circle { radius } = self.extent {
            let half = radius * self.unit_metres / EARTH_RADIUS_METRES / 2.0;
            if half < std::f64::consts::FRAC_PI_2 {
                // Of the latitudes that come into question, the one nearest to a pole has the shortest degrees.
                let edge = origin.latitude.abs() + 2.0 * half;
                let shortest = if edge < std::f64::consts::FRAC_PI_2 {
                    edge.cos()
                } else {
                    0.0
                };
                far = Far {
                    square: half.sin() * half.sin() * (1.0 + MARGIN),
                    cosines: origin.cosine * shortest,
                };
            }
        }
        Probe {
            shape: *self,
            origin,
            far,
        }
    }

    /// The cells that cover the area, as ranges of scores in the order in which Redis searches them.
    pub fn score_ranges(&self) -> ScoreRanges {
        let mut steps = self.steps();
        let bounds = self.bounds();
        let mut middle = Cell::around(self.center, WEB, steps);
        // Near the edge of the middle cell a neighbour may not reach far enough.
        let reaches = middle.neighbour(0, 1).area().north >= bounds.north
            && middle.neighbour(0, -1).area().south <= bounds.south
            && middle.neighbour(1, 0).area().east >= bounds.east
            && middle.neighbour(-1, 0).area().west <= bounds.west;
        if steps > 1 && !reaches {
            steps -= 1;
            middle = Cell::around(self.center, WEB, steps);
        }
        // Where the middle cell reaches beyond the area, its neighbours on that side have nothing to add.
        let area = middle.area();
        let needs = |east: i32, north: i32| {
            steps < 2
                || !(north < 0 && area.south < bounds.south
                    || north > 0 && area.north > bounds.north
                    || east < 0 && area.west < bounds.west
                    || east > 0 && area.east > bounds.east)
        };
        let mut ranges = ScoreRanges::new();
        let mut previous = None;
        for (east, north) in [
            (0, 0),
            (0, 1),
            (0, -1),
            (1, 0),
            (-1, 0),
            (1, 1),
            (-1, 1),
            (1, -1),
            (-1, -1),
        ] {
            let cell = middle.neighbour(east, north);
            // Cells of half the globe are their own neighbours' neighbours.
            if needs(east, north) && previous != Some(cell) {
                ranges.push(cell.scores());
                previous = Some(cell);
            }
        }
        ranges
    }

    /// How many times both coordinates are halved so that nine cells cover the area.
    fn steps(&self) -> u32 {
        let reach = match self.extent {
            Extent::Circle { radius } => radius,
            Extent::Box { width, height } => {
                ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
            }
        };
        let mut metres = reach * self.unit_metres;
        if metres == 0.0 {
            return STEPS_MAX;
        }
        let mut steps = 1_i32;
        while metres < MERCATOR_MAX {
            metres *= 2.0;
            steps += 1;
        }
        steps -= 2;
        // Towards the poles a degree of longitude is shorter.
        let latitude = self.center.latitude.abs();
        steps -= i32::from(latitude > 66.0) + i32::from(latitude > 80.0);
        steps.clamp(1, STEPS_MAX as i32) as u32
    }

    /// The rectangle around the area.
    fn bounds(&self) -> Area {
        let (width, height) = match self.extent {
            Extent::Circle { radius } => (radius, radius),
            Extent::Box { width, height } => (width / 2.0, height / 2.0),
        };
        let Point {
            longitude,
            latitude,
        } = self.center;
        let degrees = |radians: f64| radians / RADIANS_PER_DEGREE;
        let up = degrees(self.unit_metres * height / EARTH_RADIUS_METRES);
        // The edge that is nearer to a pole is the longer one in degrees.
        let edge = if latitude < 0.0 {
            latitude - up
        } else {
            latitude + up
        };
        let cosine = (edge * RADIANS_PER_DEGREE).cos();
        let aside = degrees(self.unit_metres * width / EARTH_RADIUS_METRES / cosine);
        Area {
            west: longitude - aside,
            east: longitude + aside,
            south: latitude - up,
            north: latitude + up,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    const PALERMO: Point = Point {
        longitude: 13.361389,
        latitude: 38.115556,
    };
    const CATANIA: Point = Point {
        longitude: 15.087269,
        latitude: 37.502669,
    };

    #[test]
    fn scores_texts_and_distances_are_those_of_redis() {
        assert_eq!(PALERMO.score(), 3479099956230698.0);
        assert_eq!(CATANIA.score(), 3479447370796909.0);
        assert_eq!(&Point::of_score(PALERMO.score()).text(), b"sqc8b49rny0");
        let (palermo, catania) = (
            Point::of_score(PALERMO.score()),
            Point::of_score(CATANIA.score()),
        );
        assert_eq!(format!("{:.4}", palermo.distance(catania)), "166274.1516");
    }

    #[test]
    fn any_score_is_a_valid_point() {
        for score in [
            0.0,
            -1.0,
            f64::MIN,
            f64::MAX,
            f64::INFINITY,
            f64::NEG_INFINITY,
            9.3e18,
            4503599627370496.0,
        ] {
            assert!(Point::of_score(score).is_valid(), "{score}");
        }
    }

    #[test]
    fn a_point_that_is_passed_over_early_is_outside() {
        let mut random = Random::new(22);
        let mut unit = move || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        let (mut inside, mut early) = (0, 0);
        for round in 0..300_000 {
            let center = Point {
                longitude: unit() * 360.0 - 180.0,
                latitude: (unit() * 2.0 - 1.0) * LATITUDE_MAX,
            };
            let radius = 10.0_f64.powf(unit() * 9.0 - 1.0);
            let degrees = radius / 111_000.0;
            let stretch = center.latitude.to_radians().cos();
            let point = Point {
                longitude: center.longitude + (unit() - 0.5) * 3.0 * degrees / stretch,
                latitude: center.latitude + (unit() - 0.5) * 3.0 * degrees,
            };
            // Points of an index stand in the middle of cells.
            let point = if point.is_valid() && round % 2 == 0 {
                Point::of_score(point.score())
            } else {
                point
            };
            if !point.is_valid() {
                continue;
            }
            let shape = Shape {
                center,
                extent: Extent::Circle { radius },
                unit_metres: 1.0,
            };
            let distance = center.distance(point);
            let is_outside = distance > radius;
            let probe = shape.probe();
            assert_eq!(
                probe.distance_inside(point).is_some(),
                !is_outside,
                "{shape:?} {point:?} {distance}"
            );
            let aside = (radians(point.longitude) - probe.origin.longitude) / 2.0;
            let up = (radians(point.latitude) - probe.origin.latitude) / 2.0;
            inside += usize::from(!is_outside);
            early += usize::from(probe.far.holds(aside, up));
        }
        assert!(inside > 30_000 && early > 60_000, "{inside} {early}");
    }

    #[test]
    fn the_cells_of_an_area_hold_every_point_inside() {
        let mut random = Random::new(21);
        let mut unit = move || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        for _ in 0..20_000 {
            let center = Point {
                longitude: unit() * 340.0 - 170.0,
                latitude: unit() * 120.0 - 60.0,
            };
            let size = 10.0_f64.powf(unit() * 5.0 + 1.0);
            let extent = if unit() < 0.5 {
                Extent::Circle { radius: size }
            } else {
                Extent::Box {
                    width: size,
                    height: size * unit(),
                }
            };
            let shape = Shape {
                center,
                extent,
                unit_metres: 1.0,
            };
            let ranges = shape.score_ranges();
            let spread = size / 100_000.0;
            let point = Point {
                longitude: center.longitude + (unit() - 0.5) * spread,
                latitude: center.latitude + (unit() - 0.5) * spread,
            };
            if !point.is_valid() || shape.probe().distance_inside(point).is_none() {
                continue;
            }
            let score = point.score();
            let found = ranges
                .iter()
                .any(|(min, max)| (*min..*max).contains(&score));
            assert!(found, "{shape:?} {point:?}");
        }
    }
}
