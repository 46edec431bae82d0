//! The built binary: a server and its callers, each a process of its own.

use crate::fixtures::{command, fail, succeed, teacher_server};
use crate::support::Place;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

/// `teacher-server serve` on a free port; killed when dropped.
struct Served {
    child: Child,
    url: String,
}

impl Served {
    fn start(place: &Place) -> Self {
        let [model, root] = [&place.model, &place.root].map(|path| path.to_str().unwrap());
        let flags = ["serve", "--model", model, "--root", root, "--listen", "127.0.0.1:0"];
        let mut child = command(&flags, &[]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line
            .trim()
            .strip_prefix("listening on ")
            .expect("the first line says where")
            .to_owned();
        let served = Self { child, url };
        let ready = || teacher_server(&["jobs", "--server", &served.url], &[]).status.success();
        while !ready() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        served
    }

    fn terminate(mut self) -> Option<i32> {
        self.signal();
        self.child.wait().unwrap().code()
    }

    /// Sends SIGTERM.
    fn signal(&self) {
        let id = self.child.id().to_string();
        assert!(std::process::Command::new("kill").arg(id).status().unwrap().success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn submit_watch_jobs_and_cancel_go_through_a_server() {
    let place = Place::documents(14);
    let served = Served::start(&place);
    let server = ["--server", &served.url];
    let plan = [
        "--input",
        "documents.jsonl",
        "--output",
        "out",
        "--examples-per-shard",
        "3",
    ];

    let said = succeed(&teacher_server(
        &[&["submit"][..], &server, &plan, &["--watch"]].concat(),
        &[],
    ));
    let (id, output) = said.trim().split_once('\n').unwrap();
    assert_eq!(output, place.root.join("out").to_str().unwrap());
    assert!(place.root.join("out/manifest.json").exists());
    assert_eq!(
        succeed(&teacher_server(&[&["watch", id][..], &server].concat(), &[])).trim(),
        output
    );
    let table = succeed(&teacher_server(&[&["jobs"][..], &server].concat(), &[]));
    assert!(
        table.contains(id) && table.contains("SUCCEEDED") && table.contains("5/5"),
        "{table}"
    );
    let lines = succeed(&teacher_server(&[&["jobs", "--json"][..], &server].concat(), &[]));
    let job: serde_json::Value = serde_json::from_str(lines.trim()).unwrap();
    assert_eq!((&job["id"], &job["state"]), (&id.into(), &"SUCCEEDED".into()));
    assert!(succeed(&teacher_server(&[&["cancel", id][..], &server].concat(), &[])).contains("SUCCEEDED"));

    let refused = teacher_server(
        &[&["submit"][..], &server, &["--input", "/etc/hosts", "--output", "o"]].concat(),
        &[],
    );
    assert!(fail(&refused, 1).contains("does not lie under a root"), "{refused:?}");
    let unknown = teacher_server(&[&["watch", "0123456789abcdef"][..], &server].concat(), &[]);
    assert!(fail(&unknown, 1).contains("no job 0123456789abcdef"));

    // a job that fails fails its watcher
    std::fs::write(place.root.join("broken.jsonl"), "{\"text\": 7}\n").unwrap();
    let broken = ["--input", "broken.jsonl", "--output", "broken", "--watch"];
    let failed = teacher_server(&[&["submit"][..], &server, &broken].concat(), &[]);
    assert!(fail(&failed, 1).contains("broken.jsonl:1"), "{failed:?}");

    assert_eq!(served.terminate(), Some(0));
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let place = Place::decoder();
    let mut served = Served::start(&place);
    // a caller that has said nothing yet: the graceful end waits for it, for a while
    let _caller = std::net::TcpStream::connect(served.url.trim_start_matches("http://")).unwrap();
    served.signal();
    let refused = || teacher_server(&["jobs", "--server", &served.url], &[]).status.code() == Some(75);
    while !refused() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    served.signal();
    assert_eq!(served.child.wait().unwrap().code(), Some(143));
}

#[test]
fn nobody_there_may_be_tried_again() {
    // bound and closed again: nobody listens there
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("http://127.0.0.1:{port}");
    assert!(fail(&teacher_server(&["jobs", "--server", &url], &[]), 75).contains(&url));
    let no_url = teacher_server(&["jobs", "--server", "https://localhost:1"], &[]);
    assert!(fail(&no_url, 1).contains("--ca-cert"));
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let place = Place::decoder();
    let [model, root] = [&place.model, &place.root].map(|path| path.to_str().unwrap());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let serve = |model: &str, rest: &[&str]| teacher_server(&[&["serve", "--model", model][..], rest].concat(), &[]);

    assert!(fail(&serve(model, &["--listen", &address]), 1).contains("the port is in use"));
    let exposed = serve(model, &["--listen", "0.0.0.0:0"]);
    assert!(fail(&exposed, 1).contains("--tls-cert, --tls-key and --token-file"));
    let no_root = serve(model, &["--listen", "127.0.0.1:0", "--root", "/nowhere/at/all"]);
    assert!(fail(&no_root, 1).contains("/nowhere/at/all"));
    let no_model = serve(root, &["--listen", "127.0.0.1:0"]);
    assert!(fail(&no_model, 1).contains("config.json"));
}
