//! `slotwise-dump`: looks at persistence files without a server, makes one snapshot of them, mends them.
//!
//! All the work is the library's (`recovery/`); this is its command line.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use slotwise::recovery::{check, inspect};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn command_line() -> Command {
    let path = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .required(true)
            .help(help)
            .value_parser(clap::value_parser!(PathBuf))
    };
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .help(help)
            .action(ArgAction::SetTrue)
    };
    let where_ = "Append-only files of Slotwise or Redis, a server's directory, or a file";
    Command::new("slotwise-dump")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Looks at persistence files without a server")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("merge")
                .about("Writes all that the files hold into one snapshot (RDB)")
                .arg(path("DIR", where_))
                .arg(path("OUT.rdb", "The snapshot to write"))
                .arg(flag("force", "Replace OUT.rdb if it is there")),
        )
        .subcommand(
            Command::new("info")
                .about("Tells what the files are and what they hold")
                .arg(path("DIR|FILE", where_)),
        )
        .subcommand(
            Command::new("check")
                .about("Tells what is wrong with the files and what a start would drop")
                .arg(path("DIR", where_))
                .arg(flag(
                    "fix",
                    "Drop it, keeping copies of the files as they were",
                ))
                .arg(flag("yes", "Do not ask before")),
        )
}

fn main() -> ExitCode {
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Warn)
        .format(|out, record| writeln!(out, "{}", record.args()))
        .init();
    let matches = command_line().get_matches();
    let outcome = match matches.subcommand() {
        Some(("merge", matches)) => merge(matches),
        Some(("info", matches)) => inspect::info(path(matches, "DIR|FILE")).map(|text| {
            print!("{text}");
            true
        }),
        Some(("check", matches)) => run_check(matches),
        _ => Ok(false), // clap has refused it
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

fn path<'a>(matches: &'a ArgMatches, name: &str) -> &'a Path {
    matches.get_one::<PathBuf>(name).expect("clap requires it")
}

fn merge(matches: &ArgMatches) -> Result<bool, String> {
    let out = path(matches, "OUT.rdb");
    if out.exists() && !matches.get_flag("force") {
        return Err(format!(
            "'{}' is there already; --force replaces it",
            out.display()
        ));
    }
    let keys = inspect::merge(path(matches, "DIR"), out)?;
    println!("{}: {keys} keys", out.display());
    Ok(true)
}

fn run_check(matches: &ArgMatches) -> Result<bool, String> {
    let findings = check::check(path(matches, "DIR"))?;
    if findings.is_clean() {
        println!("Everything is as it should be.");
        return Ok(true);
    }
    for line in &findings.lines {
        println!("{line}");
    }
    println!(
        "{}",
        match findings.stops_start {
            true => "A server does not start with these files.",
            false => "A server starts with these files, and drops what is said above.",
        }
    );
    let Some(mend) = findings.mend else {
        return Ok(!findings.stops_start);
    };
    println!("--fix would, after copying each file that changes:");
    for line in mend.describe() {
        println!("  {line}");
    }
    if !matches.get_flag("fix") {
        return Ok(!findings.stops_start);
    }
    if !matches.get_flag("yes") {
        print!("No server may be using the files. Continue? [y/N]: ");
        let mut answer = String::new();
        let read = std::io::stdout()
            .flush()
            .and_then(|()| std::io::stdin().lock().read_line(&mut answer));
        if read.is_err() || !answer.trim().eq_ignore_ascii_case("y") {
            println!("Nothing was changed.");
            return Ok(false);
        }
    }
    let copies = mend
        .apply()
        .map_err(|error| format!("Mending failed: {error}"))?;
    for copy in copies {
        println!("Kept as it was: {}", copy.display());
    }
    println!("Done.");
    Ok(true)
}
