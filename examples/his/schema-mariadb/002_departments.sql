-- Departments and the materials they use, with the rows that every installation begins with.
create table departments (
    code  varchar(8)  primary key,
    name  varchar(60) not null unique,
    kind  varchar(20) not null check (kind in ('门诊', '住院', '医技', '行政')),
    place varchar(60) not null
);
create table materials (
    code       varchar(12)    primary key,
    name       varchar(80)    not null,
    spec       varchar(60)    not null,
    unit       varchar(10)    not null,
    price      numeric(12, 2) not null check (price >= 0),
    department varchar(8)     not null,
    foreign key (department) references departments (code)
);

insert into departments (code, name, kind, place) values
    ('D001', '内科门诊', '门诊', '门诊楼二层'),
    ('D002', '外科门诊', '门诊', '门诊楼三层'),
    ('D010', '心内科病房', '住院', '住院楼六层'),
    ('D020', '检验科', '医技', '医技楼一层'),
    ('D021', '放射科', '医技', '医技楼负一层'),
    ('D090', '信息科', '行政', '行政楼四层');

insert into materials (code, name, spec, unit, price, department) values
    ('M00000001', '一次性使用无菌注射器', '5 mL', '支', 0.85, 'D001'),
    ('M00000002', '医用外科口罩', '17.5 cm × 9.5 cm', '只', 0.35, 'D002'),
    ('M00000003', '静脉留置针', '24G', '支', 6.20, 'D010'),
    ('M00000004', '真空采血管', '5 mL,EDTA-K2', '支', 1.10, 'D020'),
    ('M00000005', '医用胶片', '14 in × 17 in', '张', 12.50, 'D021');
