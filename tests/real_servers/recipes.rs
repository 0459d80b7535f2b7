//! The recipes of `docs/recipes.md` against the servers that they name. A block has `up:RECIPE,ARGUMENT…` and
//! `down:…` after `text`.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ldirectord_rs::check::Checker;
use ldirectord_rs::value::{Outcome, Verdict};
use nix::sched::CloneFlags;

use crate::ours;
use crate::server::{LIMIT, Server};

/// Text of the page, and its replacement here.
const HERE: [(&str, &str); 4] = [
    ("192.168.6.3:", "127.0.0.1:"),
    (" gate", " masq"),
    ("www.example.com", "peers.test"),
    ("/etc/ssl/internal-ca.pem", "/etc/peers.crt"),
];

/// A block of the page.
struct Recipe {
    title: String,
    servers: Vec<(Outcome, Vec<String>)>,
    block: String,
}

fn recipes() -> Vec<Recipe> {
    let text = include_str!("../../docs/recipes.md");
    let mut recipes: Vec<Recipe> = Vec::new();
    let (mut title, mut inside) = ("", false);
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            title = heading;
        } else if let Some(words) = line.strip_prefix("```text ") {
            let servers = words.split(' ').map(server).collect();
            recipes.push(Recipe { title: title.to_owned(), servers, block: String::new() });
            inside = true;
        } else if line.starts_with("```") {
            inside = false;
        } else if let Some(recipe) = recipes.last_mut().filter(|_| inside) {
            recipe.block +=
                &HERE.iter().fold(format!("{line}\n"), |line, (there, here)| line.replace(there, here));
        }
    }
    recipes
}

fn server(word: &str) -> (Outcome, Vec<String>) {
    let (outcome, server) = word.split_once(':').unwrap();
    let outcome = match outcome {
        "up" => Outcome::Up,
        "down" => Outcome::Down,
        other => panic!("{word}: neither up nor down: {other}"),
    };
    (outcome, server.split(',').map(str::to_owned).collect())
}

/// The first verdict for a server that has just started.
fn verdict(
    checker: &Checker,
    runtime: &tokio::runtime::Runtime,
    block: &str,
    server: &mut Server,
) -> Verdict {
    let limit = Instant::now() + LIMIT;
    loop {
        let verdict = runtime.block_on(ours::ask(checker, block, 5));
        let starts = ["refused", "starting up", "no answer"].iter().any(|word| verdict.reason.contains(word));
        if !starts {
            return verdict;
        }
        assert!(!server.has_ended() && Instant::now() < limit, "{}\n{}", verdict.reason, server.log());
        thread::sleep(Duration::from_millis(100));
    }
}

/// Gives this thread and its child processes a network of their own: the servers of other tests use the same ports.
fn in_a_network_of_its_own() {
    nix::sched::unshare(CloneFlags::CLONE_NEWNET).unwrap();
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
}

#[test]
fn each_recipe_tells_its_servers_apart() {
    in_a_network_of_its_own();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let checker = Checker::new().unwrap();
    let recipes = recipes();
    assert!(recipes.len() >= 7, "{} recipes", recipes.len());
    for recipe in recipes {
        for (outcome, words) in &recipe.servers {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let mut server = Server::start_for("recipe-", &words);
            let verdict = verdict(&checker, &runtime, &recipe.block, &mut server);
            println!("{}: {words:?}: {:?}: {}", recipe.title, verdict.outcome, verdict.reason);
            assert_eq!(verdict.outcome, *outcome, "{}: {words:?}: {}", recipe.title, verdict.reason);
        }
    }
}
