-- Which files were loaded, in the target database itself: one truth after a crash. Run once as the owner of the
-- database; default privileges give the import role SELECT and INSERT. Safe to run again. last_byte is 0 while batches
-- of the file are left.
create table if not exists public.implops_import_log (
    import_id      text        not null,
    file_sha256    text        not null,
    mapping_sha256 text        not null,
    target         text        not null,
    batch_no       integer     not null,
    first_line     bigint      not null,
    last_line      bigint      not null,
    last_byte      bigint      not null,
    rows           bigint      not null,
    row_hash       text        not null,
    tool_version   text        not null,
    committed_at   timestamptz not null default now(),
    primary key (file_sha256, mapping_sha256, target, batch_no)
);
