//! What users do, and what may not go wrong when machines do.

mod files;
mod network;
mod text;

use anyhow::Result;

use crate::devnet::Devnet;

pub(crate) type Scenario = fn(&mut Devnet) -> Result<()>;

/// All scenarios, in the order in which they run; those that hurt the devnet come last.
pub(crate) const ALL: &[(&str, Scenario)] = &[
    (
        "demo_wallets_talk_from_the_home_of_the_devnet",
        text::demo_wallets_talk,
    ),
    (
        "text_to_an_offline_wallet_waits_in_its_mailbox",
        text::offline,
    ),
    (
        "text_to_a_listening_wallet_arrives_at_once_and_is_verified",
        text::online,
    ),
    ("text_over_the_direct_path_arrives", text::direct),
    (
        "text_to_nobody_is_refused_with_its_own_exit_code",
        text::to_nobody,
    ),
    ("message_from_stdin_arrives_byte_for_byte", text::from_stdin),
    (
        "unlisted_wallet_is_reached_by_its_contact_uri",
        text::unlisted,
    ),
    ("rotated_keys_are_found_and_used_by_senders", text::rotated),
    (
        "killed_listener_shows_each_message_of_its_inbox_once",
        text::killed_listener,
    ),
    (
        "file_of_64_mib_arrives_at_an_offline_wallet",
        files::large_offline,
    ),
    (
        "file_whose_sender_was_killed_is_resumed",
        files::interrupted_sender,
    ),
    (
        "file_whose_recipient_was_killed_is_completed",
        files::interrupted_recipient,
    ),
    (
        "file_with_a_hostile_name_stays_in_its_directory",
        files::hostile_name,
    ),
    (
        "two_copies_survive_the_death_of_a_mailbox",
        network::dead_mailbox,
    ),
    ("sixth_node_joins_a_running_devnet", network::sixth_node),
    ("packets_flow_with_the_chain_dead", network::dead_chain),
    (
        "mailbox_killed_and_restarted_has_lost_nothing",
        network::restarted_mailbox,
    ),
    (
        "devnet_that_was_stopped_resumes_with_everything",
        network::resume,
    ),
    ("ephemeral_devnet_leaves_nothing_behind", network::ephemeral),
];
