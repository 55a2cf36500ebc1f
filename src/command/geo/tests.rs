//! Geo commands against shards without sockets. Expected replies are redis-server's.

use crate::command::harness::Harness;
use crate::command::string::tests::set_list;

fn sicily(shards: usize) -> Harness {
    let mut h = Harness::new(shards);
    let added = h.line("GEOADD Sicily 13.361389 38.115556 Palermo 15.087269 37.502669 Catania");
    assert_eq!(added, ":2\r\n");
    h.line("GEOADD Sicily 12.758489 38.788135 edge1 17.241510 38.788135 edge2");
    h
}

#[test]
fn members_are_added_and_asked_for() {
    let mut h = sicily(1);
    h.dialogue(
        "
        GEOADD Sicily 13.361389 38.115556 Palermo => :0
        GEOADD Sicily CH XX 13.5 38 Palermo 1 1 Nobody => :1
        GEOADD Sicily NX 13.361389 38.115556 Palermo => :0
        GEOADD Sicily CH 13.361389 38.115556 Palermo => :1
        GEODIST Sicily Palermo Catania => $11 166274.1516
        GEODIST Sicily Palermo Catania KM => $8 166.2742
        GEODIST Sicily Palermo Palermo mi => $6 0.0000
        GEODIST Sicily Palermo nobody => $-1
        GEODIST none Palermo Catania => $-1
        GEODIST Sicily Palermo Catania yd => -ERR unsupported unit provided. please use M, KM, FT, MI
        GEODIST Sicily a b km x => -ERR syntax error
        GEOHASH Sicily Palermo nobody Catania => *3 $11 sqc8b49rny0 $-1 $11 sqdtr74hyu0
        GEOPOS Sicily Palermo nobody => *2 *2 $20 13.36138933897018433 $20 38.11555639549629859 *-1
        GEOPOS none a => *1 *-1
        GEOADD k NX XX 1 1 a => -ERR syntax error
        GEOADD k 1 1 a 2 => -ERR syntax error
        GEOADD k NX CH XX => -ERR syntax error
        GEOADD k 1 x a => -ERR value is not a valid float
        GEOADD k 181 1 a => -ERR invalid longitude,latitude pair 181.000000,1.000000
        TYPE Sicily => +zset
        ",
    );
    set_list(&mut h, "l");
    for command in [
        "GEOADD l 1 1 a",
        "GEODIST l a b",
        "GEOHASH l a",
        "GEOPOS l a",
    ] {
        assert!(h.line(command).starts_with("-WRONGTYPE"), "{command}");
    }
}

#[test]
fn circles_and_boxes_are_searched() {
    let mut h = sicily(1);
    h.dialogue(
        "
        GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 200 km ASC => *2 $7 Catania $7 Palermo
        GEOSEARCH Sicily FROMLONLAT 15 37 BYBOX 400 400 km ASC WITHCOORD WITHDIST => *4 *3 $7 Catania $7 56.4413 *2 $20 15.08726745843887329 $20 37.50266842333162032 *3 $7 Palermo $8 190.4424 *2 $20 13.36138933897018433 $20 38.11555639549629859 *3 $5 edge2 $8 279.7403 *2 $20 17.24151045083999634 $20 38.78813451624225195 *3 $5 edge1 $8 279.7405 *2 $19 12.7584877610206604 $20 38.78813451624225195
        GEOSEARCH Sicily FROMMEMBER Palermo BYRADIUS 1 m WITHHASH => *1 *2 $7 Palermo :3479099956230698
        GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 500 km DESC COUNT 1 => *1 $5 edge1
        GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 500 km COUNT 1 => *1 $7 Catania
        GEOSEARCH none FROMMEMBER a BYRADIUS 1 m => *0
        GEORADIUS Sicily 15 37 200 km WITHDIST DESC => *2 *2 $7 Palermo $8 190.4424 *2 $7 Catania $7 56.4413
        GEORADIUS_RO Sicily 15 37 100 KM => *1 $7 Catania
        GEORADIUSBYMEMBER Sicily Palermo 170 km ASC => *3 $7 Palermo $5 edge1 $7 Catania
        GEORADIUSBYMEMBER_RO Sicily Palermo 1 km => *1 $7 Palermo
        GEORADIUSBYMEMBER none a 1 km => *0
        ",
    );
    let any = h.line("GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 500 km COUNT 2 ANY");
    assert!(any.starts_with("*2\r\n"));
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let mut h = sicily(1);
    h.dialogue(
        "
        GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 1 km ANY => -ERR the ANY argument requires COUNT argument
        GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 1 km COUNT 0 => -ERR COUNT must be > 0
        GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 1 km COUNT x => -ERR value is not an integer or out of range
        GEOSEARCH Sicily FROMMEMBER nobody BYRADIUS 1 km => -ERR could not decode requested zset member
        GEOSEARCH Sicily FROMLONLAT 15 37 ASC ASC => -ERR exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCH
        geosearch Sicily BYRADIUS 1 km ASC ASC => -ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for geosearch
        GEOSEARCH Sicily FROMMEMBER Palermo FROMLONLAT 15 37 BYRADIUS 1 km => -ERR syntax error
        GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS x km => -ERR need numeric radius
        GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS -1 km => -ERR radius cannot be negative
        GEOSEARCH Sicily FROMLONLAT 15 37 BYBOX x 1 km => -ERR need numeric width
        GEOSEARCH Sicily FROMLONLAT 15 37 BYBOX 1 x km => -ERR need numeric height
        GEOSEARCH Sicily FROMLONLAT 15 37 BYBOX 1 -1 km => -ERR height or width cannot be negative
        GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 1 km STOREDIST => -ERR syntax error
        GEOSEARCHSTORE d Sicily FROMLONLAT 15 37 BYRADIUS 1 km WITHDIST => -ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options
        GEORADIUS Sicily 15 37 1 km STORE d WITHDIST => -ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options
        GEORADIUS_RO Sicily 15 37 1 km STORE d => -ERR syntax error
        ",
    );
    set_list(&mut h, "l");
    assert!(h.line("GEORADIUS l x y z km").starts_with("-WRONGTYPE"));
}

#[test]
fn results_are_stored_on_any_shard() {
    for shards in [1, 4] {
        let mut h = sicily(shards);
        for d in ["d", "e", "f"] {
            h.dialogue(&format!(
                "
                GEOSEARCHSTORE {d} Sicily FROMLONLAT 15 37 BYRADIUS 200 km => :2
                ZRANGE {d} 0 -1 WITHSCORES => *4 $7 Palermo $16 3479099956230698 $7 Catania $16 3479447370796909
                GEOSEARCHSTORE {d} Sicily FROMLONLAT 15 37 BYRADIUS 200 km STOREDIST COUNT 1 => :1
                ZRANGE {d} 0 -1 => *1 $7 Catania
                GEORADIUS Sicily 15 37 200 km STORE other STOREDIST {d} DESC => :2
                ZRANGE {d} 0 -1 => *2 $7 Catania $7 Palermo
                EXISTS other => :0
                GEORADIUSBYMEMBER Sicily Palermo 1 km STORE {d} => :1
                GEOSEARCHSTORE {d} Sicily FROMLONLAT 0 0 BYRADIUS 1 km => :0
                EXISTS {d} => :0
                GEOADD {d} 1 1 a => :1
                GEOSEARCHSTORE {d} none FROMMEMBER x BYRADIUS 1 km => :0
                EXISTS {d} => :0
                "
            ));
        }
    }
}
