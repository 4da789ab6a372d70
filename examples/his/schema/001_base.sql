-- Administrative divisions (codes of GB/T 2260 and GB/T 10114) and the accounts of the system.
create table provinces (
    code char(2) primary key,
    name varchar(60) not null
);
create table cities (
    code          char(4) primary key,
    name          varchar(60) not null,
    province_code char(2) not null references provinces
);
create table areas (
    code          char(6) primary key,
    name          varchar(60) not null,
    city_code     char(4) not null references cities,
    province_code char(2) not null references provinces
);
create table streets (
    code          char(9) primary key,
    name          varchar(60) not null,
    area_code     char(6) not null references areas,
    province_code char(2) not null references provinces,
    city_code     char(4) not null references cities
);
create index on cities (province_code);
create index on areas (city_code);
create index on streets (area_code);

create table users (
    name       varchar(40) primary key,
    salt       bytea       not null,
    iterations integer     not null check (iterations >= 100000),
    hash       bytea       not null
);
-- The account of the demonstration (password: demo-only); a hospital removes it. PBKDF2-HMAC-SHA256, 32 bytes.
insert into users (name, salt, iterations, hash) values
    ('demo', '\x5d0c1f7a93e24b68a1c7d2f0b8e6493c', 210000,
     '\x732e58bd686427a6f7973c923ba9c55425ee5a78e84b5fb3d9fa518bc6b8d578');
