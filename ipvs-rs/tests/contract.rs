//! Tests of the behaviour of every [`Ipvs`], in memory and in the kernel.
//!
//! The tests always run on [`Memory`](ipvs_rs::Memory), and on the kernel if `IPVS_RS_KERNEL=1` is set. A kernel
//! without IPVS is then a failure. Each kernel test has its own network namespace, and so its own table. If the two
//! differ, the memory is wrong.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod suite;
mod tables;

use std::process::Command;

use ipvs_rs::{Ipvs, Kernel};
use nix::sched::{CloneFlags, unshare};

/// Runs a test on a separate kernel table, if requested.
fn on_kernel(test: fn(&mut dyn Ipvs)) {
    on_bare_kernel(move |kernel| {
        // The kernel creates its table of local routes when the first interface comes up.
        let status = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("the program ip");
        assert!(status.success(), "ip link set lo up: {status}");
        test(kernel);
    });
}

/// Like [`on_kernel`], in a namespace in which no interface was ever up.
fn on_bare_kernel(test: impl FnOnce(&mut dyn Ipvs) + Send + 'static) {
    if std::env::var_os("IPVS_RS_KERNEL").is_none_or(|value| value != "1") {
        println!("not run: IPVS_RS_KERNEL is not 1");
        return;
    }
    // The namespace belongs to the thread, so it ends with the thread and no other test sees it.
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace needs root");
        test(&mut Kernel::open().expect("a kernel with IPVS"));
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

macro_rules! contract {
    ($($module:ident { $($name:ident),+ $(,)? })+) => {
        mod memory {
            $(mod $module {
                $(#[test] fn $name() { crate::suite::$module::$name(&mut ipvs_rs::Memory::new()); })+
            })+
        }
        mod kernel {
            $(mod $module {
                $(#[test] fn $name() { crate::on_kernel(crate::suite::$module::$name); })+
            })+
        }
    };
}

contract! {
    services {
        every_kind_of_key,
        every_scheduler,
        every_flag,
        persistence,
        a_persistence_engine,
        everything_can_be_edited,
        refusals,
        what_is_refused_unsent,
        a_port_of_zero,
    }
    destinations {
        every_method,
        every_tunnel,
        families_mix_in_tunnels_only,
        everything_can_be_edited,
        refusals,
        odd_addresses,
        the_order_of_refusals,
        removed_ones_come_back_new,
    }
    whole {
        version,
        nothing_to_do,
        a_service_alone,
        a_batch_with_errors_goes_on,
        five_thousand_destinations,
        many_services,
        any_table_can_be_reached,
        flush,
        zero,
        a_new_table_has_counted_nothing,
        timeouts,
    }
}

mod kernel_alone {
    use super::{on_bare_kernel, on_kernel, suite};

    #[test]
    fn an_ipv4_destination_needs_an_interface() {
        on_bare_kernel(|kernel| suite::destinations::without_interface(kernel));
    }

    #[test]
    fn the_example_prints_what_ipvsadm_prints() {
        on_kernel(suite::listing::the_example_prints_what_ipvsadm_prints);
    }

    #[test]
    fn traffic_is_counted() {
        on_kernel(suite::alone::traffic_is_counted);
    }

    #[test]
    fn a_service_that_is_removed_hides_another_from_the_list() {
        on_kernel(suite::alone::a_service_that_is_removed_hides_another_from_the_list);
    }

    #[test]
    fn reading_goes_on_while_somebody_writes() {
        on_kernel(suite::alone::reading_goes_on_while_somebody_writes);
    }

    /// The services of other tests keep the module in use, and a kernel in use must keep it: `make lab` starts an
    /// emulated machine for this test alone.
    #[test]
    #[ignore = "unloads a kernel module: run by `make lab` on a separate machine"]
    fn a_module_that_was_loaded_anew_is_found() {
        on_kernel(suite::alone::a_module_that_was_loaded_anew_is_found);
    }
}
