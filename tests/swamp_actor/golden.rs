//! The recorded scenarios that need one process at a time.

use crate::replay::play;
use crate::world::World;

on_both_stores!(
    a_first_push_writes_what_swamp_writes,
    a_lazy_cache_deletes_nothing_and_becomes_whole,
    an_unindexed_bucket_is_discovered,
    a_scoped_cache_deletes_what_it_never_had,
    a_second_migration_rolls_the_index_back,
    deletions_travel_by_mark_and_by_overflow_only,
    a_pull_scrubs_the_index,
    readers_go_stale_as_swamps_do,
);

async fn a_first_push_writes_what_swamp_writes(world: World) {
    play(world, "a_fresh_push").await;
}

async fn a_lazy_cache_deletes_nothing_and_becomes_whole(world: World) {
    play(world, "c_lazy_then_hydrate").await;
}

async fn an_unindexed_bucket_is_discovered(world: World) {
    play(world, "d_unindexed_discovery").await;
}

async fn a_scoped_cache_deletes_what_it_never_had(world: World) {
    play(world, "e_scoped_push_pull").await;
}

async fn a_second_migration_rolls_the_index_back(world: World) {
    play(world, "f_migrate_to_shards").await;
}

async fn deletions_travel_by_mark_and_by_overflow_only(world: World) {
    play(world, "g_deletions").await;
}

async fn a_pull_scrubs_the_index(world: World) {
    play(world, "k_internal_and_zombies").await;
}

async fn readers_go_stale_as_swamps_do(world: World) {
    play(world, "m_stale_readers").await;
}
