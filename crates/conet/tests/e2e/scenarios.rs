//! What users do, and what may not go wrong when machines do.

mod devices;
mod files;
mod names;
mod network;
mod other_devnets;
mod people;
mod processes;
mod proxy;
mod services;
mod text;

use anyhow::Result;

use crate::devnet::Devnet;
use Scenario::{Alone, Beside};

/// A scenario, and what it does to the devnet.
#[derive(Clone, Copy)]
pub(crate) enum Scenario {
    /// It leaves the devnet as it is: others run at the same time.
    Beside(fn(&Devnet) -> Result<()>),
    /// It kills or adds parts of the devnet: no other runs meanwhile.
    Alone(fn(&mut Devnet) -> Result<()>),
}

/// All scenarios, in the order in which they begin; those that hurt the devnet come last.
pub(crate) const ALL: &[(&str, Scenario)] = &[
    (
        "outbox_that_meets_a_full_mailbox_goes_on_in_order_when_the_owner_has_collected",
        Beside(other_devnets::full_mailbox),
    ),
    (
        "devnet_with_slow_blocks_and_seven_nodes_carries_text_and_routes",
        Beside(other_devnets::slow_blocks),
    ),
    (
        "name_that_is_sent_to_leads_to_its_wallet",
        Beside(names::used),
    ),
    (
        "name_of_somebody_is_refused_to_others",
        Beside(names::guarded),
    ),
    ("name_given_away_is_its_new_owners", Beside(names::given)),
    (
        "name_that_leads_nowhere_is_refused_in_words",
        Beside(names::nowhere),
    ),
    (
        "ephemeral_devnet_leaves_nothing_behind",
        Beside(network::ephemeral),
    ),
    (
        "two_devices_of_one_wallet_each_receive_everything",
        Beside(devices::two_devices),
    ),
    (
        "rotation_on_one_device_reaches_the_other",
        Beside(devices::rotation_reaches_the_other),
    ),
    (
        "device_of_an_old_export_says_what_to_do",
        Beside(devices::outdated_export),
    ),
    (
        "wallet_restored_from_its_words_has_its_certificate_and_mail_to_come",
        Beside(devices::restored),
    ),
    (
        "wallet_restored_and_rotated_still_warns_of_lost_mail",
        Beside(devices::restored_and_rotated),
    ),
    (
        "first_machine_of_a_wallet_restored_elsewhere_says_what_to_do",
        Beside(devices::restored_beside_the_first),
    ),
    (
        "receipts_reach_contacts_and_nobody_else",
        Beside(people::receipts),
    ),
    (
        "blocked_sender_is_not_heard_until_unblocked",
        Beside(people::blocked),
    ),
    (
        "unsigned_message_is_shown_as_such_and_a_broken_one_not_at_all",
        Beside(people::unsigned),
    ),
    (
        "unlisted_wallet_is_found_by_its_whole_contact_only",
        Beside(people::unlisted),
    ),
    (
        "listener_hears_on_while_its_wallet_rotates_twice",
        Beside(people::rotated_while_listening),
    ),
    (
        "second_listener_of_a_home_is_refused",
        Beside(processes::second_listener),
    ),
    (
        "processes_that_send_at_once_send_everything_once",
        Beside(processes::sending_at_once),
    ),
    (
        "file_stopped_by_the_user_goes_on_where_it_was",
        Beside(other_devnets::interrupted_by_the_user),
    ),
    (
        "files_with_forged_names_stay_in_their_directory",
        Beside(processes::forged_names),
    ),
    (
        "control_characters_of_a_sender_do_not_reach_the_terminal",
        Beside(processes::control_characters),
    ),
    (
        "demo_wallets_talk_from_the_home_of_the_devnet",
        Beside(text::demo_wallets_talk),
    ),
    (
        "text_to_an_offline_wallet_waits_in_its_mailbox",
        Beside(text::offline),
    ),
    (
        "text_to_a_listening_wallet_arrives_at_once_and_is_verified",
        Beside(text::online),
    ),
    ("text_over_the_direct_path_arrives", Beside(text::direct)),
    (
        "text_to_nobody_is_refused_with_its_own_exit_code",
        Beside(text::to_nobody),
    ),
    (
        "message_from_stdin_arrives_byte_for_byte",
        Beside(text::from_stdin),
    ),
    (
        "unlisted_wallet_is_reached_by_its_contact_uri",
        Beside(text::unlisted),
    ),
    (
        "rotated_keys_are_found_and_used_by_senders",
        Beside(text::rotated),
    ),
    (
        "killed_listener_shows_each_message_of_its_inbox_once",
        Beside(text::killed_listener),
    ),
    (
        "file_of_64_mib_arrives_at_an_offline_wallet",
        Beside(files::large_offline),
    ),
    (
        "file_whose_sender_was_killed_is_resumed",
        Beside(files::interrupted_sender),
    ),
    (
        "file_whose_recipient_was_killed_is_completed",
        Beside(files::interrupted_recipient),
    ),
    (
        "file_with_a_hostile_name_stays_in_its_directory",
        Beside(files::hostile_name),
    ),
    (
        "web_site_is_browsed_through_both_bridges",
        Beside(proxy::browse),
    ),
    ("bridge_refuses_what_is_not_public", Beside(proxy::refuse)),
    (
        "datagrams_cross_a_bridge_and_come_back",
        Beside(proxy::datagrams),
    ),
    (
        "bridges_are_chosen_by_the_policies_and_prices_they_announce",
        Alone(proxy::offers),
    ),
    (
        "notes_service_of_the_devnet_knows_its_visitors_by_a_wallet_and_no_login",
        Beside(services::notes),
    ),
    (
        "web_site_for_some_wallets_lets_in_nobody_else_whatever_they_claim",
        Beside(services::members_only),
    ),
    (
        "server_is_reached_by_name_and_address_through_both_proxies",
        Beside(services::served),
    ),
    (
        "large_bodies_cross_the_network_whole_to_and_from_a_service",
        Beside(services::large_bodies),
    ),
    (
        "port_is_forwarded_to_a_service_and_only_for_those_who_are_let_in",
        Beside(services::forwarded),
    ),
    (
        "services_of_one_wallet_in_two_processes_and_again_after_a_crash",
        Beside(services::processes),
    ),
    (
        "two_publishers_share_the_callers_and_one_takes_all_when_the_other_is_killed",
        Beside(services::two_publishers),
    ),
    (
        "service_that_is_not_there_is_refused_in_words",
        Beside(services::nowhere),
    ),
    (
        "download_from_a_service_survives_the_death_of_every_node_on_the_way",
        Alone(services::nodes_die),
    ),
    (
        "download_survives_the_death_of_entry_and_relay",
        Alone(proxy::entry_and_relay_die),
    ),
    (
        "connection_whose_bridge_died_is_reset_and_others_take_the_other",
        Alone(proxy::bridge_dies),
    ),
    (
        "two_copies_survive_the_death_of_a_mailbox",
        Alone(network::dead_mailbox),
    ),
    (
        "sixth_node_joins_a_running_devnet",
        Alone(network::sixth_node),
    ),
    (
        "packets_flow_with_the_chain_dead",
        Alone(network::dead_chain),
    ),
    (
        "mailbox_killed_and_restarted_has_lost_nothing",
        Alone(network::restarted_mailbox),
    ),
    (
        "devnet_that_was_stopped_resumes_with_everything",
        Alone(network::resume),
    ),
];
