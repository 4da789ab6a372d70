-- Administrative divisions (codes of GB/T 2260 and GB/T 10114) and the accounts of the system.
create table provinces (
    code char(2) primary key,
    name varchar(60) not null
);
create table cities (
    code          char(4) primary key,
    name          varchar(60) not null,
    province_code char(2) not null,
    foreign key (province_code) references provinces (code)
);
create table areas (
    code          char(6) primary key,
    name          varchar(60) not null,
    city_code     char(4) not null,
    province_code char(2) not null,
    foreign key (city_code) references cities (code),
    foreign key (province_code) references provinces (code)
);
create table streets (
    code          char(9) primary key,
    name          varchar(60) not null,
    area_code     char(6) not null,
    province_code char(2) not null,
    city_code     char(4) not null,
    foreign key (area_code) references areas (code),
    foreign key (province_code) references provinces (code),
    foreign key (city_code) references cities (code)
);

create table users (
    name       varchar(40)    primary key,
    salt       varbinary(64)  not null,
    iterations integer        not null check (iterations >= 100000),
    hash       varbinary(64)  not null
);
-- The account of the demonstration (password: demo-only); a hospital removes it. PBKDF2-HMAC-SHA256, 32 bytes.
insert into users (name, salt, iterations, hash) values
    ('demo', x'5d0c1f7a93e24b68a1c7d2f0b8e6493c', 210000,
     x'732e58bd686427a6f7973c923ba9c55425ee5a78e84b5fb3d9fa518bc6b8d578');
