//! MariaDB and PostgreSQL.

use crate::asking::{Case, with_starttls};
use crate::life::Life;

fn ask(service: &str, login: &str, passwd: &str, database: &str, query: &str) -> String {
    format!(
        "service={service}; login=\"{login}\"; passwd=\"{passwd}\"; database=\"{database}\"; request=\"{query}\""
    )
}

#[test]
fn mariadb() {
    let ask = |login, passwd, database, query| ask("mysql", login, passwd, database, query);
    let four = "127.0.0.1:3306";
    let fine = ask("checker", "right", "shop", "SELECT 1");
    let good = ["127.0.0.1:3306", "[::1]:3306"].map(|real| Case::up(real, &fine, "the query gives rows"));
    Life::begin("mysql (mariadb)", &["mariadb"], &good)
        .expect(&[
            Case::up(four, &ask("open", "", "", "SHOW DATABASES"), "the query gives rows"),
            Case::down(
                four,
                &ask("checker", "right", "shop", "SELECT * FROM orders"),
                "the query gives no row",
            ),
            Case::down(
                four,
                &ask("checker", "right", "shop", "SELECT * FROM nothing"),
                "query: error 1146 \"Table",
            ),
            Case::down(four, &ask("checker", "right", "shop", "SELEC 1"), "query: error 1064"),
            Case::down(four, &ask("checker", "right", "nothing", "SELECT 1"), "error 1044 \"Access denied"),
            Case::down(four, &ask("checker", "wrong", "shop", "SELECT 1"), "error 1045 \"Access denied"),
            Case::down(four, &ask("nobody", "right", "shop", "SELECT 1"), "error 1045 \"Access denied"),
        ])
        // A wait that is longer than the check may take.
        .expect_short(&[Case::down(
            four,
            &ask("checker", "right", "shop", "SELECT SLEEP(60)"),
            "ms, request sent, waiting for the answer to the query)",
        )])
        .expect(&with_starttls(&good, "the query gives rows"))
        .through(&good, "waiting for the greeting", "refused")
        .end();
}

#[test]
fn postgresql() {
    let ask = |login, passwd, database, query| ask("pgsql", login, passwd, database, query);
    let four = "127.0.0.1:5432";
    let fine = ask("checker", "right", "postgres", "SELECT 1");
    let good = ["127.0.0.1:5432", "[::1]:5432"].map(|real| Case::up(real, &fine, "the query gives rows"));
    Life::begin("pgsql (postgresql)", &["postgresql"], &good)
        .expect(&[
            // The database of the user's own name, and no password.
            Case::up(four, &ask("open", "", "", "SELECT 1"), "the query gives rows"),
            Case::up(four, &ask("checker", "right", "postgres", "SELECT 1;SELECT 2"), "the query gives rows"),
            Case::up(four, &ask("sealed", "right", "postgres", "SELECT 1"), "the query gives rows"),
            Case::up(four, &ask("plain", "right", "postgres", "SELECT 1"), "the query gives rows"),
            Case::down(four, &ask("sealed", "wrong", "postgres", "SELECT 1"), "login: FATAL 28P01"),
            Case::down(
                four,
                &ask("checker", "right", "postgres", "SELECT * FROM orders"),
                "the query gives no row",
            ),
            Case::down(
                four,
                &ask("checker", "right", "postgres", "SELECT * FROM nothing"),
                "query: ERROR 42P01 \"relation",
            ),
            Case::down(four, &ask("checker", "right", "postgres", "SELEC 1"), "query: ERROR 42601"),
            Case::down(four, &ask("checker", "right", "nothing", "SELECT 1"), "login: FATAL 3D000"),
            Case::down(four, &ask("checker", "wrong", "postgres", "SELECT 1"), "login: FATAL 28P01"),
            Case::down(four, &ask("nobody", "right", "postgres", "SELECT 1"), "login: FATAL 28P01"),
        ])
        .expect_short(&[Case::down(
            four,
            &ask("checker", "right", "postgres", "SELECT pg_sleep(60)"),
            "ms, request sent, waiting for the answer to the query)",
        )])
        .expect(&with_starttls(&good, "the query gives rows"))
        .expect(&[Case::down(
            four,
            &format!("{}; #rs: starttls=yes", ask("plain", "right", "postgres", "SELECT 1")),
            "login: FATAL 28000",
        )])
        .through(&good, "waiting for the answer to the login", "refused")
        .end();
}
